// Products of small matrices by a warp.
#pragma once
#include "common.cuh"
