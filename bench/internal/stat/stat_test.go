package stat_test

import (
	"math"
	"slices"
	"testing"

	"github.com/holdfast-go/holdfast/bench/internal/stat"
)

func TestPercentile(t *testing.T) {
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(100 - i) // in falling order, so that it must sort
	}
	for _, c := range []struct {
		values []float64
		p      float64
		want   float64
	}{
		{nil, 50, 0},
		{[]float64{7}, 0, 7},
		{[]float64{7}, 100, 7},
		{[]float64{3, 1, 2}, 50, 2},
		{[]float64{4, 3, 2, 1}, 50, 2},
		{hundred, 50, 50},
		{hundred, 99, 99},
		{hundred, 99.5, 100},
		{hundred, 100, 100},
	} {
		before := slices.Clone(c.values)
		if got := stat.Percentile(c.values, c.p); got != c.want {
			t.Errorf("Percentile(%v, %v) = %v, want %v", c.values, c.p, got, c.want)
		}
		if !slices.Equal(c.values, before) {
			t.Error("Percentile changed its argument")
		}
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{
		{[]float64{5}, 5},
		{[]float64{9, 1, 5}, 5},
		{[]float64{8, 2, 4, 6}, 5},
	} {
		if got := stat.Median(c.values); got != c.want {
			t.Errorf("Median(%v) = %v, want %v", c.values, got, c.want)
		}
	}
	if got := stat.Median(nil); !math.IsNaN(got) {
		t.Errorf("Median of nothing = %v", got)
	}
}

func TestMeanAndMax(t *testing.T) {
	if got := stat.Mean([]float64{1, 2, 6}); got != 3 {
		t.Errorf("Mean = %v", got)
	}
	if got := stat.Max([]float64{1, 6, 2}); got != 6 {
		t.Errorf("Max = %v", got)
	}
	if stat.Mean(nil) != 0 || stat.Max(nil) != 0 {
		t.Error("Mean or Max of nothing is not 0")
	}
}

func TestJain(t *testing.T) {
	for _, c := range []struct {
		counts []float64
		want   float64
	}{
		{[]float64{5, 5, 5, 5}, 1},
		{[]float64{8, 0, 0, 0}, 0.25},
		{[]float64{1, 3}, 0.8},
	} {
		if got := stat.Jain(c.counts); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("Jain(%v) = %v, want %v", c.counts, got, c.want)
		}
	}
	if got := stat.Jain([]float64{0, 0}); !math.IsNaN(got) {
		t.Errorf("Jain where nobody got anything = %v", got)
	}
}

// The median is that of the ratios, not the ratio of the medians: a slow round is
// slow for both.
func TestRatios(t *testing.T) {
	ours, others := []float64{10, 200, 60}, []float64{5, 100, 20}
	if got := stat.Ratios(ours, others); !slices.Equal(got, []float64{2, 2, 3}) {
		t.Errorf("Ratios = %v", got)
	}
	if got := stat.Median(stat.Ratios(ours, others)); got != 2 {
		t.Errorf("median of the ratios = %v", got)
	}
	gaps := stat.Ratios([]float64{1, math.NaN(), 3, 4}, []float64{0, 2, 6})
	if !slices.Equal(gaps, []float64{0.5}) {
		t.Errorf("Ratios with gaps = %v", gaps)
	}
}

func TestKnown(t *testing.T) {
	if got := stat.Known([]float64{1, math.NaN(), 2}); !slices.Equal(got, []float64{1, 2}) {
		t.Errorf("Known = %v", got)
	}
}
