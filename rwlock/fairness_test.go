//go:build linux

package rwlock_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/internal/contract"
	"github.com/holdfast-go/holdfast/internal/history"
	"github.com/holdfast-go/holdfast/internal/processtest"
)

// TestNobodyStarves lets one request compete with a crowd of the other sort, in
// several processes, all in a loop without a pause. Once the one is in the
// queue, it gets in after those who were there before it, and it gets in again
// and again, and so does everybody else.
func TestNobodyStarves(t *testing.T) {
	for name, c := range map[string]struct {
		lone, crowd           string
		processes, goroutines int
		turns                 int // of the lone one
	}{
		"a writer among readers": {"write", "read", 4, 16, 150},
		"a reader among writers": {"read", "write", 4, 4, 100},
	} {
		t.Run(name, func(t *testing.T) {
			e := backend(t)
			s := history.Storm{Settings: processtest.Settings{Addr: e.Addr, Name: lockName, TTL: 30 * time.Second}}
			for range c.processes {
				s.Traffic = append(s.Traffic, history.Traffic{
					Goroutines: c.goroutines, Requests: []history.Request{request(c.crowd)},
				})
			}
			s.Traffic = append(s.Traffic, history.Traffic{Goroutines: 1, Requests: []history.Request{request(c.lone)}})
			s.Start(t)
			seen := make(map[string]time.Duration) // since when the lone one's requests were in the queue, by id
			contract.Within(t, time.Minute, "the lone one to have its turns", func() bool {
				lookForPlace(t, e, request(c.lone), seen)
				return s.Begun(c.lone) >= c.turns
			})
			checkTurns(t, s.Halt(), c.lone, seen, c.processes*c.goroutines)
			free(t, e)
		})
	}
}

// lookForPlace notes when a request of that weight was seen in the queue first.
func lookForPlace(t *testing.T, e *contract.Env, q history.Request, seen map[string]time.Duration) {
	t.Helper()
	queues, err := e.Redis.Keys(t.Context(), "holdfast:q:*").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, queue := range queues {
		places, err := e.Redis.ZRangeArgs(t.Context(), redis.ZRangeArgs{Key: queue, Start: 1, Stop: "+inf", ByScore: true}).Result()
		at := processtest.Monotonic()
		if err != nil {
			t.Fatal(err)
		}
		for _, place := range places {
			parts := strings.Split(place, " ") // "<id> <lease ms> <inbox> <weight> <limit> <holder>"
			if _, known := seen[parts[0]]; !known && parts[3] == strconv.FormatInt(q.Weight, 10) {
				seen[parts[0]] = at
			}
		}
	}
}

// checkTurns counts what was granted to the crowd while the lone one was known
// to be in the queue. Tokens are in the order of grants.
func checkTurns(t *testing.T, ops []history.Op, lone string, seen map[string]time.Duration, crowd int) {
	t.Helper()
	turns := make(map[string]int) // of the crowd, by process: all goroutines of one are alike
	waits, most := 0, 0
	for _, o := range ops {
		if o.What != lone {
			turns[o.Process]++
			continue
		}
		since, ok := seen[o.ID]
		if !ok {
			continue
		}
		waits++
		passed := 0
		for _, other := range ops {
			if other.What == lone || other.Token > o.Token {
				continue
			}
			if other.Asked > since {
				t.Errorf("%v was asked for after, and granted before %v", other, o)
			}
			if other.From > since {
				passed++
			}
		}
		most = max(most, passed)
	}
	if waits == 0 {
		t.Error("the lone one never had to wait")
	}
	if most > crowd {
		t.Errorf("%d turns of a crowd of %d while one waited", most, crowd)
	}
	for process, n := range turns {
		if n < crowd {
			t.Errorf("%s had only %d turns", process, n)
		}
	}
	t.Logf("%d waits were watched; at most %d of a crowd of %d went before; turns of the crowd: %v", waits, most, crowd, turns)
}
