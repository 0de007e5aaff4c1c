//go:build linux

package torture_test

import (
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/history"
)

// made is a call of a handmade history, each by a client of its own.
func made(kind, outcome string, call, ret time.Duration, token int64) done {
	return done{
		step:    step{Client: int(call), Kind: kind, Lock: "page", At: ret, Outcome: outcome, Token: token, Until: call + 1000},
		process: "p", call: call, ret: ret,
	}
}

// passed is a hold that had that token before it was passed on.
func passed(d done, first int64) done {
	d.First = first
	return d
}

// until50 is with a deadline of 50.
func until50(d done) done {
	d.Until = 50
	return d
}

// TestSearch: histories that a mutex may have, and some that it must not.
func TestSearch(t *testing.T) {
	t.Parallel()
	const (
		lock, try, release = kindLock, kindTry, kindRelease
		ok, busy, unknown  = outcomeOK, outcomeBusy, outcomeUnknown
	)
	for name, c := range map[string]struct {
		page   []done
		losses []history.Loss
		want   bool
	}{
		"in turn":           {[]done{made(lock, ok, 1, 5, 7), made(release, ok, 10, 12, 7), made(lock, ok, 6, 14, 8)}, nil, true},
		"two hold":          {[]done{made(lock, ok, 1, 5, 7), made(release, ok, 20, 22, 7), made(lock, ok, 6, 14, 8)}, nil, false},
		"an older token":    {[]done{made(lock, ok, 1, 5, 8), made(release, ok, 10, 12, 8), made(lock, ok, 13, 14, 7)}, nil, false},
		"the same token":    {[]done{made(lock, ok, 1, 5, 7), made(release, ok, 10, 12, 7), made(lock, ok, 13, 14, 7)}, nil, false},
		"refused":           {[]done{made(lock, ok, 1, 5, 7), made(try, busy, 6, 8, 0), made(release, ok, 10, 12, 7)}, nil, true},
		"refused by none":   {[]done{made(lock, ok, 1, 5, 7), made(release, ok, 10, 12, 7), made(try, busy, 13, 15, 0)}, nil, false},
		"refused meanwhile": {[]done{made(lock, ok, 1, 5, 7), made(release, ok, 10, 12, 7), made(try, busy, 11, 15, 0)}, nil, true},

		// An unknown acquire may have been done, then or later, and may have ended.
		"refused by a ghost":    {[]done{made(lock, unknown, 1, 5, 0), made(try, busy, 13, 15, 0), made(lock, ok, 16, 18, 7)}, nil, true},
		"a ghost that is late":  {[]done{made(lock, unknown, 1, 5, 0), made(lock, ok, 6, 7, 7), made(release, ok, 8, 9, 7), made(try, busy, 13, 15, 0)}, nil, true},
		"before its ghost":      {[]done{made(try, busy, 13, 15, 0), made(lock, unknown, 16, 20, 0)}, nil, false},
		"a ghost beside a hold": {[]done{made(lock, unknown, 1, 5, 0), made(lock, ok, 6, 7, 7), made(lock, ok, 8, 9, 8)}, nil, false},

		// A release of which nobody knows may be done late, but before the next hold.
		"an unknown release":     {[]done{made(lock, ok, 1, 5, 7), made(release, unknown, 10, 12, 7), made(try, busy, 13, 15, 0), made(lock, ok, 16, 18, 8)}, nil, true},
		"a release never called": {[]done{until50(made(lock, ok, 1, 5, 7)), made(lock, ok, 16, 60, 8)}, nil, true},
		"before the deadline":    {[]done{until50(made(lock, ok, 1, 5, 7)), made(lock, ok, 16, 40, 8)}, nil, false},
		"confirmed, but gone":    {[]done{until50(made(lock, ok, 1, 5, 7)), made(lock, ok, 51, 60, 8), made(release, ok, 70, 75, 7)}, nil, false},
		"lost, as it was":        {[]done{until50(made(lock, ok, 1, 5, 7)), made(lock, ok, 51, 60, 8), until50(made(release, outcomeLost, 70, 75, 7))}, nil, true},

		// A loss of data frees the mutex, and nothing else.
		"after a loss":       {[]done{made(lock, ok, 1, 5, 7), made(lock, ok, 12, 14, 8), made(release, outcomeLost, 20, 25, 7)}, []history.Loss{{Since: 8, At: 10}}, true},
		"before the loss":    {[]done{made(lock, ok, 1, 5, 7), made(lock, ok, 6, 7, 8), made(release, outcomeLost, 20, 25, 7)}, []history.Loss{{Since: 8, At: 10}}, false},
		"of another lock":    {[]done{made(lock, ok, 1, 5, 7), made(lock, ok, 12, 14, 8), made(release, outcomeLost, 20, 25, 7)}, []history.Loss{{Lock: "other", Since: 8, At: 10}}, false},
		"tokens over a loss": {[]done{made(lock, ok, 1, 5, 7), made(lock, ok, 12, 14, 6), made(release, outcomeLost, 20, 25, 7)}, []history.Loss{{Since: 8, At: 10}}, false},

		// An acquire that was granted, and did not hear of it before the data was lost, begins anew.
		"granted unheard":           {[]done{made(lock, ok, 1, 30, 20), made(try, busy, 5, 6, 0), made(lock, ok, 14, 16, 15), made(release, ok, 17, 18, 15)}, []history.Loss{{Since: 8, At: 10, Token: 9}}, true},
		"refused, and nothing lost": {[]done{made(lock, ok, 1, 30, 20), made(try, busy, 5, 6, 0), made(lock, ok, 14, 16, 15), made(release, ok, 17, 18, 15)}, nil, false},
		"refused after the loss":    {[]done{made(lock, ok, 1, 30, 20), made(try, busy, 11, 12, 0), made(lock, ok, 14, 16, 15), made(release, ok, 17, 18, 15)}, []history.Loss{{Since: 8, At: 10, Token: 9}}, false},
		"granted to the stopped":    {[]done{made(lock, ok, 1, 1e9, 20), made(try, busy, 5, 6, 0), made(lock, ok, 14, 16, 15), made(release, ok, 17, 18, 15)}, nil, true},
		// What was lost is passed on until its process hears of it; nothing else is.
		"passed on after a loss":      {[]done{made(lock, ok, 1, 5, 7), made(lock, ok, 11, 14, 19), passed(made(lock, ok, 12, 15, 8), 7)}, []history.Loss{{Since: 8, At: 10, Token: 9}}, true},
		"passed on before the loss":   {[]done{made(lock, ok, 1, 3, 7), made(lock, ok, 4, 5, 9), passed(made(lock, ok, 6, 7, 8), 7)}, []history.Loss{{Since: 8, At: 10, Token: 9}}, false},
		"a later one, passed on":      {[]done{made(lock, ok, 11, 14, 19), made(lock, ok, 15, 16, 29), passed(made(lock, ok, 17, 18, 20), 19)}, []history.Loss{{Since: 8, At: 10, Token: 9}}, false},
		"not passed on, after a loss": {[]done{made(lock, ok, 1, 5, 7), made(lock, ok, 11, 14, 19), made(lock, ok, 15, 16, 8)}, []history.Loss{{Since: 8, At: 10, Token: 9}}, false},
	} {
		if _, err := search(c.page, c.losses); (err == nil) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSearchManyGhosts: where there are too many to try each, a refusal proves
// nothing any more, but two holders do.
func TestSearchManyGhosts(t *testing.T) {
	t.Parallel()
	var page []done
	for i := range 2 * mostGhosts {
		page = append(page, made(kindLock, outcomeUnknown, time.Duration(i+1), time.Duration(i+2), 0))
	}
	page = append(page, made(kindTry, outcomeBusy, 200, 210, 0),
		made(kindLock, outcomeOK, 220, 230, 7), made(kindRelease, outcomeOK, 240, 250, 7),
		made(kindTry, outcomeBusy, 260, 270, 0))
	if v, err := search(page, nil); err != nil || !v.left {
		t.Errorf("%v, left %v", err, v.left)
	}
	page = append(page, made(kindLock, outcomeOK, 231, 235, 8))
	if _, err := search(page, nil); err == nil {
		t.Error("two holders were not found")
	}
}
