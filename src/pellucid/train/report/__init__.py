"""What a run shows of itself: curves, confusion matrix, the page `report.html`, the model card."""
