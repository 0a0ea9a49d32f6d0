"""report.html: the page about a finished search, and its charts."""
