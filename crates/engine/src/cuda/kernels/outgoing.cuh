// The end of every gradient of an operand.
#pragma once
#include "channels.cuh"
