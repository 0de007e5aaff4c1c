package holdfast

import (
	"context"
	"log/slog"

	"github.com/holdfast-go/holdfast/internal/courier"
)

// The keys of log records. They are part of what WithLogger promises.
const (
	keyKind    = "kind"
	keyName    = "name"
	keyWeight  = "weight"
	keyID      = "id"
	keyToken   = "token"
	keyWait    = "wait"
	keyHanded  = "handed_over"
	keyHeld    = "held"
	keyReason  = "reason"
	keyError   = "error"
	keyDropped = "dropped"
)

// record is a log record on its way to the handler.
type record struct {
	text string
	args []any
}

func newReports(log *slog.Logger) *courier.Courier[record] {
	return courier.New(roomForRecords,
		func(r record, dropped int) {
			if dropped > 0 {
				log.Warn("holdfast: the log handler was busy: records dropped", keyDropped, dropped)
			}
			log.Warn("holdfast: "+r.text, r.args...)
		},
		func(any) {}, // a handler that panics has nowhere to say so
	)
}

// warn writes a record of level WARN in the background. It never blocks.
func (c *Client) warn(text string, args ...any) { c.reports.Send(record{text, args}) }

// eventLog is the observer that writes the records of level DEBUG.
type eventLog struct {
	log *slog.Logger
}

// Observe writes a record of what has none of a higher level.
func (l eventLog) Observe(ctx context.Context, e Event) {
	if e.Type == EventLost {
		return // a WARN
	}
	attrs := append(make([]slog.Attr, 0, 8),
		slog.String(keyKind, e.Kind), slog.String(keyName, e.Name), slog.Int64(keyWeight, e.Weight))
	if e.ID != "" {
		attrs = append(attrs, slog.String(keyID, e.ID), slog.Int64(keyToken, e.Token))
	}
	switch e.Type {
	case EventAcquired:
		attrs = append(attrs, slog.Duration(keyWait, e.Wait), slog.Bool(keyHanded, e.HandedOver))
	case EventNotAcquired:
		attrs = append(attrs, slog.Duration(keyWait, e.Wait))
	case EventRenewed, EventReleased, EventLost:
		attrs = append(attrs, slog.Duration(keyHeld, e.Held))
	}
	if e.Err != nil {
		attrs = append(attrs, slog.Any(keyError, e.Err))
	}
	if e.Dropped > 0 {
		attrs = append(attrs, slog.Int(keyDropped, e.Dropped))
	}
	l.log.LogAttrs(ctx, slog.LevelDebug, "holdfast: "+string(e.Type), attrs...)
}
