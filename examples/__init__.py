"""Examples over real data: the flights that left New York in 2013, and the demo that runs pipelines over them."""
