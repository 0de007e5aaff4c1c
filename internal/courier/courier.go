// Package report writes log records from a goroutine of its own: a handler is
// the user's code, may block or lock, and must not hold up what ends leases.
package report

import (
	"context"
	"log/slog"
	"sync"
)

// waiting is how many records may wait for a handler that blocks; more are
// dropped.
const waiting = 256

// Reporter writes records in order. Safe for concurrent use.
type Reporter struct {
	log *slog.Logger

	mu      sync.Mutex
	records []record
	running bool
	idle    []chan struct{}
}

type record struct {
	text string
	args []any
}

// New makes a Reporter. It has a goroutine only while there is something to write.
func New(log *slog.Logger) *Reporter { return &Reporter{log: log} }

// Warn writes a record of level WARN in the background. It never blocks.
func (r *Reporter) Warn(text string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.records) == waiting {
		return
	}
	r.records = append(r.records, record{text, args})
	if !r.running {
		r.running = true
		go r.run()
	}
}

// Close waits until ctx ends or everything is written.
func (r *Reporter) Close(ctx context.Context) error {
	idle := make(chan struct{})
	r.mu.Lock()
	if r.running {
		r.idle = append(r.idle, idle)
	} else {
		close(idle)
	}
	r.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *Reporter) run() {
	for {
		r.mu.Lock()
		if len(r.records) == 0 {
			r.running = false
			for _, c := range r.idle {
				close(c)
			}
			r.idle = nil
			r.mu.Unlock()
			return
		}
		next := r.records[0]
		r.records = r.records[1:]
		r.mu.Unlock()
		r.log.Warn(next.text, next.args...)
	}
}
