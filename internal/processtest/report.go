//go:build linux

package processtest

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/holdfast-go/holdfast"
)

// Settings is what a child starts with.
type Settings struct {
	Addr, Name     string
	TTL            time.Duration
	Every          time.Duration // between two polls; 0: as by default
	WithoutRenewal bool
	Limit          int64 // of a semaphore

	// Rough: Redis may fail from the start.
	Rough bool
	// Timeout is that of the go-redis client, for each answer; 0: as by default.
	Timeout time.Duration
}

// Options are those of the child's locks.
func (s Settings) Options() []holdfast.Option {
	opts := []holdfast.Option{holdfast.WithTTL(s.TTL)}
	if s.Every > 0 {
		opts = append(opts, holdfast.WithBackOff(func() holdfast.BackOff { return every(s.Every) }))
	}
	if s.WithoutRenewal {
		opts = append(opts, holdfast.WithoutRenewal())
	}
	return opts
}

// every is a BackOff that never changes.
type every time.Duration

func (e every) NextBackOff() time.Duration { return time.Duration(e) }
func (every) Reset()                       {}

// Report is one line from a child.
type Report struct {
	Event    string
	Argument string          `json:",omitempty"` // of the order that it answers
	At       time.Duration   `json:",omitempty"` // see the order
	ID       string          `json:",omitempty"` // of the lease, if it is about one
	Token    int64           `json:",omitempty"`
	Error    string          `json:",omitempty"`
	Lost     bool            `json:",omitempty"` // the error Is ErrLost
	Data     json.RawMessage `json:",omitempty"` // what only those who know the order understand
}

// With returns the report with that error, if it is one.
func (r Report) With(err error) Report {
	if err != nil {
		r.Error, r.Lost = err.Error(), errors.Is(err, holdfast.ErrLost)
	}
	return r
}

// Carrying returns the report with data, which Read reads.
func (r Report) Carrying(data any) Report {
	text, err := json.Marshal(data)
	if err != nil {
		panic(err)
	}
	r.Data = text
	return r
}

// Read reads what Carrying wrote.
func (r Report) Read(data any) error { return json.Unmarshal(r.Data, data) }
