package locktest

import (
	"context"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/embedded"
	"github.com/holdfast-go/holdfast/internal/kind"
)

// Server is an embedded Redis that ends with its test. Safe for concurrent use.
type Server struct {
	tb    testing.TB
	redis *miniredis.Miniredis
}

// NewServer starts a server for the test tb.
func NewServer(tb testing.TB) *Server {
	tb.Helper()
	s := &Server{tb: tb, redis: miniredis.RunT(tb)}
	embedded.PassTime(s.redis)
	return s
}

// Addr is the server's host:port, for a Redis client of the test's own.
func (s *Server) Addr() string { return s.redis.Addr() }

// Client returns a new client of this server, closed when the test ends. Each
// is as one process: with an id of its own, and a holder name unless opts say
// otherwise.
func (s *Server) Client(opts ...holdfast.Option) *holdfast.Client {
	s.tb.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: s.Addr()})
	c, err := holdfast.New(rdb, opts...)
	if err != nil {
		s.tb.Fatalf("locktest: %v", err)
	}
	s.tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(s.tb.Context()), 10*time.Second)
		defer cancel()
		if err := c.Close(ctx); err != nil {
			s.tb.Errorf("locktest: %v", err)
		}
		_ = rdb.Close() // all it held is gone with the server
	})
	return c
}

// Lose takes the lease away as if its time had run out at the server: the next
// waiter gets the lock. It returns when the holder was told: Done is closed and
// Err Is holdfast.ErrLost. A lease that is over already stays as it is.
func (s *Server) Lose(l *holdfast.Lease) {
	s.tb.Helper()
	if l.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.tb.Context()), 10*time.Second)
	defer cancel()
	rdb := redis.NewClient(&redis.Options{Addr: s.Addr()})
	defer func() { _ = rdb.Close() }() // nothing is held by it
	if err := kind.Ending(l).Do(ctx, rdb); err != nil {
		s.tb.Fatalf("locktest: Lose: %v", err)
	}
	// The holder learns it from its next renewal: make that now. One that may
	// not renew any more learns it from its deadline.
	_ = l.Renew(ctx)
	select {
	case <-l.Done():
	case <-ctx.Done():
		s.tb.Fatalf("locktest: Lose: the holder of %q was not told", l.Name())
	}
}

// NewClient returns a client of a new server: NewServer(tb).Client(opts...).
func NewClient(tb testing.TB, opts ...holdfast.Option) *holdfast.Client {
	tb.Helper()
	return NewServer(tb).Client(opts...)
}
