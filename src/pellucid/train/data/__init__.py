"""Where images and labels come from: bundled digits, IDX folders, .npz files; their parts and normalisation."""
