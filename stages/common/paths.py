"""Where the artifacts lie that more than one stage names."""

from pathlib import Path

IMAGES = Path("data/images")
INDEX = IMAGES / "index.csv"
MANIFEST = Path("data/manifest.csv")
TARGETS = Path("data/targets.csv")
CLASSES = Path("data/classes.json")
SPLITS = Path("data/splits.csv")
AUGMENTED = Path("data/augmented")
DIGESTS = Path("data/augmented.csv")
BACKBONES = Path("models/backbones")
FEATURES = Path("data/features")
CHOICE = Path("models/choice.json")
MODEL = Path("models/model.keras")
CHECKPOINTS = Path("models/checkpoints")
METRICS = Path("reports/metrics.json")
PREDICTIONS = Path("reports/predictions.csv")
REPORTS = Path("reports")
