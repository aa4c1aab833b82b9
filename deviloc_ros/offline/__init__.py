"""A folder of images or a bag through the localizer, and the files with the results."""
