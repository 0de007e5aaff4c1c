package watchdog_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/lua"
	"github.com/holdfast-go/holdfast/watchdog"
)

// What the last Tick sends is waited for, too.
func TestCloseWaitsForWhatTheLastTickSends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pipe := newWire()
		pipe.hang = func([]string) bool { return true }
		w := begin(t, pipe.send)
		done := false
		w.Schedule(&watchdog.Entry{Task: task(func(time.Time) (watchdog.Send, bool) {
			time.Sleep(time.Second) // a Tick does not, but Close comes while it runs
			return watchdog.Send{Call: call("x"), Limit: time.Second, Done: func(*lua.Call) { done = true }}, true
		})}, time.Now())
		synctest.Wait()
		if err := w.Close(context.WithoutCancel(t.Context())); err != nil || !done {
			t.Errorf("Close = %v; the call is done: %v", err, done)
		}
	})
}
