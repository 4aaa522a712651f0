"""Files of people: images, sound and video, meshes and points, series, text."""
