// Package stat has the statistics of the bench. None of them changes its argument.
package stat

import (
	"math"
	"slices"
)

// Percentile returns the smallest value that at least p per cent of the values do
// not exceed (the nearest rank), so it is always one that was measured. 0 of no
// values.
func Percentile(values []float64, p float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	rank := int(math.Ceil(p / 100 * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// Median returns the middle value, or the mean of the two in the middle. NaN of no
// values: a median of nothing must not look like a measurement.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// Mean returns the arithmetic mean; 0 of no values.
func Mean(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	var sum float64
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

// Max returns the largest value; 0 of no values.
func Max(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	return slices.Max(values)
}

// Jain returns Jain's fairness index of what each of n contenders got: 1 if all got
// the same, 1/n if one got everything. NaN if nobody got anything.
func Jain(counts []float64) float64 {
	var sum, squares float64
	for _, c := range counts {
		sum += c
		squares += c * c
	}
	if squares == 0 {
		return math.NaN()
	}
	return sum * sum / (float64(len(counts)) * squares)
}

// Ratios divides round by round: what is compared ran next to each other. Rounds
// that one of the two lacks, and those with nothing to divide by, are left out.
func Ratios(ours, others []float64) []float64 {
	var ratios []float64
	for i := range min(len(ours), len(others)) {
		if r := ours[i] / others[i]; !math.IsNaN(r) && !math.IsInf(r, 0) {
			ratios = append(ratios, r)
		}
	}
	return ratios
}

// Known leaves out what is NaN: rounds that did not work.
func Known(values []float64) []float64 {
	var known []float64
	for _, v := range values {
		if !math.IsNaN(v) {
			known = append(known, v)
		}
	}
	return known
}
