"""How good are generated images: detectors, features, FID, KID, precision and recall, the suite."""
