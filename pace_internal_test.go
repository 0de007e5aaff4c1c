package holdfast

import (
	"testing"
	"time"
)

// A lease must end earlier for its holder than in Redis, by what two clocks can
// differ, and still be of use when it is as short as it may be.
func TestMargin(t *testing.T) {
	t.Parallel()
	for _, ttl := range []time.Duration{minTTL, time.Second, 30 * time.Second, maxTTL} {
		m := margin(ttl)
		if m < ttl/100 || m < 2*time.Millisecond || m > ttl/2 {
			t.Errorf("of a lease of %v the margin is %v", ttl, m)
		}
	}
}

// steps is a BackOff of so many intervals, which stops then.
type steps []time.Duration

func (s *steps) NextBackOff() time.Duration {
	if len(*s) == 0 {
		return -1 // what a BackOff says that has stopped
	}
	d := (*s)[0]
	*s = (*s)[1:]
	return d
}

func (*steps) Reset() {}

// Whatever a BackOff says, a waiter polls neither in a frenzy nor so seldom that
// a lease can end between two polls; and when it stops, the polls do not.
func TestPaceIsBounded(t *testing.T) {
	t.Parallel()
	const ceiling = time.Second
	p := pace{ceiling: ceiling}
	begin := func() BackOff { return &steps{0, 70 * time.Millisecond, time.Hour, 80 * time.Millisecond} }
	for i, want := range []time.Duration{
		minInterval, 70 * time.Millisecond, ceiling, 80 * time.Millisecond, 80 * time.Millisecond, 80 * time.Millisecond,
	} {
		if got := p.next(&begin); got != want {
			t.Errorf("interval %d is %v, not %v", i, got, want)
		}
	}
}
