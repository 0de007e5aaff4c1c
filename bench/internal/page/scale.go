package page

import "math"

// scale places values between two pixels.
type scale struct {
	low, high float64 // of the axis; of their logarithms, if that is what it shows
	from, to  float64 // pixels
	log       bool
}

// newScale ends at round numbers.
func newScale(low, high float64, log bool, from, to float64) scale {
	s := scale{low: low, high: high, from: from, to: to, log: log}
	switch {
	case log && from < to: // across: the values themselves, with a little room
		s.low, s.high = math.Log10(low)-0.1, math.Log10(high)+0.1
	case log:
		s.low, s.high = math.Floor(math.Log10(low)), math.Ceil(math.Log10(high))
		if s.low == s.high {
			s.high++
		}
	default:
		step := s.step()
		s.high = step * math.Ceil(high/step)
	}
	return s
}

func (s scale) place(v float64) float64 {
	if s.log {
		v = math.Log10(v)
	}
	return s.from + (v-s.low)/(s.high-s.low)*(s.to-s.from)
}

// step is the distance of ticks: 1, 2 or 5 times a power of ten, five of them or so.
func (s scale) step() float64 {
	raw := (s.high - s.low) / 5
	if raw <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, times := range []float64{1, 2, 5} {
		if raw <= times*power {
			return times * power
		}
	}
	return 10 * power
}

func (s scale) ticks() []float64 {
	var all []float64
	if s.log {
		for power := s.low; power <= s.high; power++ {
			all = append(all, math.Pow(10, power))
		}
		return all
	}
	for i := 0.0; s.low+i*s.step() <= s.high*1.0001; i++ {
		all = append(all, s.low+i*s.step())
	}
	return all
}

// brief writes thousands as k.
func brief(v float64) string {
	if v >= 1000 {
		return short(v/1000, 1) + "k"
	}
	return number(v)
}
