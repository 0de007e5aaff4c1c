//go:build linux

package torture_test

import (
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/history"
)

// TestBreakIsFound breaks the promise of every lock in a round without faults:
// now and again what Redis knows of its holders is deleted, and nobody is told.
// That must be found, by the intervals and by the search.
func TestBreakIsFound(t *testing.T) {
	r := newRound(t, plan{seed: 1, number: 1})
	ctx := t.Context()
	r.storm.Start(t)
	for range 60 {
		r.pass(20 * time.Millisecond)
		keys, err := r.redis.Keys(ctx, keyOf("mutex")[:len("holdfast:mutex:")]+"*").Result()
		r.must(err)
		for _, lock := range lockNames {
			keys = append(keys, keyOf(lock))
		}
		r.must(r.redis.Del(ctx, keys...).Err())
	}
	ops := r.storm.Still()

	broken := 0
	for _, v := range history.Check(ops) {
		if strings.Contains(v.Text, " held of ") {
			broken++
		}
	}
	if broken == 0 {
		t.Errorf("of %d holds, nothing is said to have been held by too many", len(ops))
	}
	unordered := 0
	pages := r.book.pages()
	for _, page := range pages {
		if _, err := search(page, nil); err != nil {
			unordered++
		}
	}
	if unordered == 0 {
		t.Errorf("an order was found for each of %d mutexes", len(pages))
	}
	t.Logf("%d holds too many, of %d; no order for %d mutexes of %d", broken, len(ops), unordered, len(pages))
}
