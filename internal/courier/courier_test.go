package courier_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"

	"go.uber.org/goleak"

	"github.com/holdfast-go/holdfast/internal/courier"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestDeliversInOrder(t *testing.T) {
	var got []int
	c := courier.New(1000, func(n, _ int) { got = append(got, n) }, nil)
	var want []int
	for n := range 1000 {
		c.Send(n)
		want = append(want, n)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, want) {
		t.Errorf("delivered %v", got)
	}
	c.Send(1000) // nothing is over after Close: it only waits
	if err := c.Close(t.Context()); err != nil || got[len(got)-1] != 1000 {
		t.Errorf("after Close: %v, last %d", err, got[len(got)-1])
	}
}

// A receiver that blocks costs what comes after its room, never the sender's time.
func TestDropsBeyondItsRoomAndSaysSo(t *testing.T) {
	busy, free := make(chan struct{}), make(chan struct{})
	var got []string
	c := courier.New(3, func(n, dropped int) {
		if n == 0 {
			close(busy)
			<-free
		}
		got = append(got, fmt.Sprintf("%d after %d", n, dropped))
	}, nil)
	c.Send(0)
	<-busy
	for n := 1; n <= 8; n++ {
		c.Send(n)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Close(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("Close while the receiver blocks: %v", err)
	}
	close(free)
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.Send(9)
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := []string{"0 after 0", "1 after 0", "2 after 0", "3 after 0", "9 after 5"}
	if !slices.Equal(got, want) {
		t.Errorf("delivered %q, not %q", got, want)
	}
}

func TestOutlivesPanicAndGoexit(t *testing.T) {
	var got []int
	var reasons []any
	c := courier.New(10, func(n, _ int) {
		got = append(got, n)
		switch n {
		case 1:
			panic("one")
		case 2:
			runtime.Goexit()
		}
	}, func(reason any) { reasons = append(reasons, reason) })
	for n := range 4 {
		c.Send(n)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := []int{0, 1, 2, 3}; !slices.Equal(got, want) {
		t.Errorf("delivered %v, not %v", got, want)
	}
	if want := []any{"one"}; !slices.Equal(reasons, want) {
		t.Errorf("panics: %v, not %v", reasons, want)
	}
}
