"""Pages on which people label generations and judge corrections, served to their own browser."""
