"""Fine-tuning: training the whole network end to end, on the same split and by the same metrics as the heads."""
