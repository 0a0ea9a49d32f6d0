"""Data `parquet`: tables in Parquet files, and in the Arrow files of Hugging Face datasets."""
