// Sums per channel over many pixels.
#pragma once
#include "common.cuh"
