"""What the node takes in: images, calibrations, transforms, priors."""
