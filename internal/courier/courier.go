// Package courier hands things to the user's code, a log handler or an
// observer, from a goroutine of its own: that code may block, lock or panic, and
// must not hold up what ends leases.
package courier

import (
	"context"
	"sync"
)

// Courier delivers in order. Safe for concurrent use.
type Courier[T any] struct {
	room     int
	deliver  func(thing T, dropped int)
	panicked func(reason any)

	mu      sync.Mutex
	waiting []parcel[T]
	dropped int // since the last that found room
	running bool
	idle    []chan struct{}
}

type parcel[T any] struct {
	thing   T
	dropped int
}

// New makes a Courier. Up to room things wait while deliver is busy; more are
// dropped, and the next that finds room says how many. What deliver panics with
// is handed to panicked. There is a goroutine only while there is something to
// deliver.
func New[T any](room int, deliver func(thing T, dropped int), panicked func(reason any)) *Courier[T] {
	return &Courier[T]{room: room, deliver: deliver, panicked: panicked}
}

// Send has the thing delivered in the background. It never blocks.
func (c *Courier[T]) Send(thing T) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.waiting) == c.room {
		c.dropped++
		return
	}
	c.waiting = append(c.waiting, parcel[T]{thing, c.dropped})
	c.dropped = 0
	if !c.running {
		c.running = true
		go c.run()
	}
}

// Close waits until ctx ends or everything is delivered.
func (c *Courier[T]) Close(ctx context.Context) error {
	idle := make(chan struct{})
	c.mu.Lock()
	if c.running {
		c.idle = append(c.idle, idle)
	} else {
		close(idle)
	}
	c.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run delivers until nothing is left. A panic or a runtime.Goexit of the user's
// code ends this goroutine; another then goes on.
func (c *Courier[T]) run() {
	left := true
	defer func() {
		if left {
			if reason := recover(); reason != nil {
				c.panicked(reason)
			}
			go c.run()
		}
	}()
	for {
		next, ok := c.next()
		if !ok {
			left = false
			return
		}
		c.deliver(next.thing, next.dropped)
	}
}

func (c *Courier[T]) next() (parcel[T], bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.waiting) == 0 {
		c.waiting = nil
		c.running = false
		for _, idle := range c.idle {
			close(idle)
		}
		c.idle = nil
		return parcel[T]{}, false
	}
	next := c.waiting[0]
	c.waiting[0] = parcel[T]{} // what it refers to may go
	c.waiting = c.waiting[1:]
	return next, true
}
