"""The search algorithms as data: one file and one row in `table` each. Budget, acceptance, schema, stages and report read the rows."""
