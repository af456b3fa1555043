"""Where a sample is: affines, grids and radar geolocation. Knows no files and no pixels."""
