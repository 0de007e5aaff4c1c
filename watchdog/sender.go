package watchdog

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/lua"
)

const (
	// senders is how many pipelines may be under way at once: one that hangs on
	// a dead connection must not keep the others from being sent.
	senders = 4
	// batch is the most calls in one pipeline: Redis answers it whole before it
	// turns to other clients.
	batch = 512
)

// sender sends calls in pipelines from goroutines that end when nothing is left.
type sender struct {
	ctx  context.Context //nolint:containedctx // the life of the client, for calls that nobody waits for
	send Sender

	mu      sync.Mutex
	waiting []Send
	running int
	quiet   chan struct{} // closed once nothing runs; nil: nobody asked
}

func (s *sender) add(sends []Send) {
	if len(sends) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = append(s.waiting, sends...)
	if s.running < senders {
		s.running++
		go s.run()
	}
}

// idle is closed once nothing waits and nothing is under way.
func (s *sender) idle() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.quiet == nil {
		s.quiet = make(chan struct{})
	}
	quiet := s.quiet
	if s.running == 0 {
		close(quiet)
		s.quiet = nil
	}
	return quiet
}

func (s *sender) run() {
	for {
		sends := s.next()
		if sends == nil {
			return
		}
		s.flush(sends)
	}
}

// next takes the most urgent calls and those about as urgent. A call that may
// take a millisecond must not share its limit with one that may take seconds:
// the whole pipeline would be given up that early.
func (s *sender) next() []Send {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) == 0 {
		s.running--
		if s.running == 0 && s.quiet != nil {
			close(s.quiet)
			s.quiet = nil
		}
		return nil
	}
	least := slices.MinFunc(s.waiting, func(a, b Send) int { return cmp.Compare(a.Limit, b.Limit) }).Limit
	var take, rest []Send
	for _, x := range s.waiting {
		if x.Limit <= max(least, 2*least) && len(take) < batch { // a limit that is over may be negative
			take = append(take, x)
		} else {
			rest = append(rest, x)
		}
	}
	s.waiting = rest
	if len(rest) > 0 && s.running < senders {
		s.running++
		go s.run()
	}
	return take
}

func (s *sender) flush(sends []Send) {
	limit := time.Duration(1<<63 - 1)
	calls := make([]*lua.Call, len(sends))
	for i, x := range sends {
		calls[i] = x.Call
		limit = min(limit, x.Limit)
	}
	ctx, cancel := context.WithTimeout(s.ctx, limit)
	s.send(ctx, calls)
	cancel()
	for _, x := range sends {
		x.Done(x.Call)
	}
}
