"""The Data Integration Service's calls: jobs that capture and promote, their status, its views in SQL."""
