package lua_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/internal/keys"
	"github.com/holdfast-go/holdfast/internal/kind"
	"github.com/holdfast-go/holdfast/lua"
)

// Both backends run each property, and the embedded one runs a script in
// milliseconds: fewer and longer runs than rapid's own find as much here. The
// command line still has the last word.
func TestMain(m *testing.M) {
	for name, value := range map[string]string{
		"rapid.checks":     "40",
		"rapid.steps":      "50",
		"rapid.nofailfile": "true", // the seed is printed; a file would lie about in the tree
	} {
		if err := flag.Set(name, value); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

const (
	longMS   = 30000      // a waiter is alive for longer than a test runs
	all      = 1000000000 // what a writer weighs
	redisson = "redisson_lock__channel:{order:7}"
)

// claimant is one acquisition: its id and what its request says.
type claimant struct {
	id, inbox     string
	lease         int
	weight, limit int64  // of the weighted lock
	owner         string // of the reentrant one
}

func (c claimant) holder() string { return "the holder " + c.id }

func (c claimant) request() string {
	what := strconv.FormatInt(c.weight, 10) + " " + strconv.FormatInt(c.limit, 10)
	if c.weight == 0 {
		what = strconv.Itoa(len(c.owner)) + " " + c.owner
	}
	return strconv.Itoa(c.lease) + " " + c.inbox + " " + what + " " + c.holder()
}

// member is how the set of holders or the queue has it.
func (c claimant) member() string { return c.id + " " + c.request() }

func permits(id string, weight, limit int64) claimant {
	return claimant{id: id, inbox: "inbox-" + id, lease: leaseMS, weight: weight, limit: limit}
}

func reader(id string) claimant { return permits(id, 1, all) }
func writer(id string) claimant { return permits(id, all, all) }

func owned(id, owner string) claimant {
	return claimant{id: id, inbox: "inbox-" + id, lease: leaseMS, owner: owner}
}

// kit is a bed whose lock is of one of the younger kinds.
type kit struct {
	*bed
	kind   *kind.Kind
	shares string
}

func newKit(b *bed, k *kind.Kind) *kit {
	b.t.Helper()
	set, err := keys.For("holdfast:", k.Name, "order:7")
	if err != nil {
		b.t.Fatal(err)
	}
	b.keys = []any{set.Lock, set.Queue, set.Token}
	b.lock, b.queue, b.last = set.Lock, set.Queue, set.Token
	if k.Owned {
		b.keys = append(b.keys, set.Shares)
	}
	return &kit{bed: b, kind: k, shares: set.Shares}
}

func kits(t *testing.T, k *kind.Kind, f func(t *testing.T, k *kit)) {
	t.Helper()
	backends(t, func(t *testing.T, b *bed) { f(t, newKit(b, k)) })
}

func (k *kit) acquireOf(c claimant, mode string) *lua.Call {
	return lua.NewCall(k.kind.Acquire, k.keys, c.id, c.request(), c.lease, mode, longMS)
}

// releaseOf may be told the request that c also may hold under, or the channel
// that is told when nobody holds any more.
func (k *kit) releaseOf(c claimant, grave, rest int, fifth ...any) *lua.Call {
	if len(fifth) == 0 {
		fifth = []any{""}
		if !k.kind.Owned && !k.kind.Shared {
			fifth[0] = "0"
		}
	}
	return lua.NewCall(k.kind.Release, k.keys, c.id, c.request(), grave, rest, fifth[0])
}

// holdKeys are those that a renewal and a drop declare: only they are read.
func (k *kit) holdKeys() []any {
	if k.kind.Owned {
		return []any{k.lock, k.shares}
	}
	return k.keys[:1]
}

func (k *kit) renewOf(c claimant, ms int) *lua.Call {
	return lua.NewCall(k.kind.Renew, k.holdKeys(), c.id, ms, c.request())
}

func (k *kit) dropOf(c claimant) *lua.Call {
	return lua.NewCall(k.kind.Drop, k.holdKeys(), c.id, c.request())
}

func (k *kit) pumpOf() *lua.Call { return lua.NewCall(k.kind.Pump, k.keys) }

// lighter is what c holds once it was downgraded.
func (c claimant) lighter() claimant {
	c.weight = 1
	return c
}

func (k *kit) downgradeOf(c claimant) *lua.Call {
	return lua.NewCall(lua.WeightedDowngrade, k.keys, c.id, c.request(), c.lease, c.lighter().request(), 0)
}

func (k *kit) asked(c claimant, mode string) lua.Acquired {
	k.t.Helper()
	call := k.acquireOf(c, mode)
	_ = call.Do(k.t.Context(), k.rdb) // the error is in the call
	a, err := call.Acquired()
	if err != nil {
		k.t.Fatalf("%s %s: %v", mode, c.id, err)
	}
	return a
}

// takes wants each of them to hold.
func (k *kit) takes(all ...claimant) (token int64) {
	k.t.Helper()
	for _, c := range all {
		a := k.asked(c, "lock")
		if a.Status != lua.Yours || a.Token <= token {
			k.t.Fatalf("lock %s = %+v", c.id, a)
		}
		token = a.Token
	}
	return token
}

// waits wants each of them to be told to wait.
func (k *kit) waits(all ...claimant) (a lua.Acquired) {
	k.t.Helper()
	for _, c := range all {
		if a = k.asked(c, "lock"); a.Status != lua.Busy {
			k.t.Fatalf("lock %s = %+v, want busy", c.id, a)
		}
	}
	return a
}

// polls wants each of them to have that answer.
func (k *kit) polls(want lua.Status, all ...claimant) {
	k.t.Helper()
	for _, c := range all {
		if a := k.asked(c, "poll"); a.Status != want {
			k.t.Fatalf("poll %s = %+v, want %d", c.id, a, want)
		}
	}
}

// fifth is the last argument of a release.
func (k *kit) fifth() any {
	if k.kind.Owned {
		return redisson
	}
	return ""
}

// scores is a sorted set; none if there is no such key.
func (k *kit) scores(key string) map[string]int64 {
	k.t.Helper()
	members, err := k.rdb.ZRangeWithScores(k.t.Context(), key, 0, -1).Result()
	if err != nil {
		k.t.Fatal(err)
	}
	all := map[string]int64{}
	for _, z := range members {
		all[fmt.Sprint(z.Member)] = int64(z.Score)
	}
	return all
}

// weight is that of all holds.
func (k *kit) weight() int64 { return -k.scores(k.lock)["used"] }

// count is what the reentrant lock's hash says of owner; "" for nothing.
func (k *kit) count(owner string) string {
	k.t.Helper()
	n, err := k.rdb.HGet(k.t.Context(), k.lock, owner).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		k.t.Fatal(err)
	}
	return n
}

// inLine wants these ids in the queue, in order.
func (k *kit) inLine(ids ...string) {
	k.t.Helper()
	var got []string
	for _, z := range k.members() {
		if z.Score > 0 {
			id, _, _ := strings.Cut(fmt.Sprint(z.Member), " ")
			got = append(got, id)
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(ids) {
		k.t.Fatalf("places %q, want %q", got, ids)
	}
}

// ends lets a hold or a share end, as its time would.
func (k *kit) ends(key string, c claimant) {
	k.t.Helper()
	k.do("ZADD", key, "XX", k.nowMS()-1, c.member())
}

// timed is how long f takes.
func timed(f func()) time.Duration {
	from := time.Now()
	f()
	return time.Since(from)
}
