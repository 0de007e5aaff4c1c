package page

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/holdfast-go/holdfast/bench/internal/stat"
)

// number writes three digits that count, and whole thousands with commas.
func number(v float64) string {
	switch size := math.Abs(v); {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return "–"
	case size >= 1000:
		return thousands(int64(math.Round(v)))
	case size >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case size >= 10:
		return short(v, 1)
	case size >= 0.9 && size < 1: // an index of fairness: 0.999 is not 1
		return short(v, 4)
	case size >= 1 || size == 0:
		return short(v, 2)
	default:
		return short(v, 3)
	}
}

// short leaves out zeros at the end.
func short(v float64, digits int) string {
	text := strconv.FormatFloat(v, 'f', digits, 64)
	return strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
}

func thousands(n int64) string {
	text := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, text = "-", text[1:]
	}
	for at := len(text) - 3; at > 0; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return sign + text
}

// spread writes the median, and the lowest and the highest if there is more than one.
func spread(values []float64) string {
	median := number(stat.Median(values))
	if len(values) < 2 {
		return median
	}
	return fmt.Sprintf("%s (%s–%s)", median, number(slices.Min(values)), number(slices.Max(values)))
}
