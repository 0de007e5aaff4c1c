package faultproxy_test

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/internal/faultproxy"
)

func command(name string, args ...string) faultproxy.Command {
	return faultproxy.Command{Name: name, Args: args, Conn: 1}
}

func TestMatchers(t *testing.T) {
	t.Parallel()
	const source = "return 1"
	script := faultproxy.IsScript(source)
	sha := redis.NewScript(source).Hash()
	get := command("GET", "k")
	tests := []struct {
		name    string
		matcher faultproxy.Matcher
		command faultproxy.Command
		want    bool
	}{
		{"any", faultproxy.Any(), get, true},
		{"command, in any case", faultproxy.IsCommand("set", "get"), get, true},
		{"another command", faultproxy.IsCommand("GETDEL"), get, false},
		{"argument", faultproxy.HasArg("k"), get, true},
		{"the name is no argument", faultproxy.HasArg("GET"), get, false},
		{"connection", faultproxy.OnConn(1), get, true},
		{"another connection", faultproxy.OnConn(2), get, false},
		{"EVAL of the script", script, command("EVAL", source, "0"), true},
		{"EVAL of another", script, command("EVAL", source+" ", "0"), false},
		{"EVALSHA of the script", script, command("EVALSHA", sha, "0"), true},
		{"EVALSHA_RO of the script", script, command("EVALSHA_RO", sha, "0"), true},
		{"EVALSHA of another", script, command("EVALSHA", "ab", "0"), false},
		{"hash", faultproxy.IsSHA(sha), command("EVAL", source, "0"), true},
		{"another command with the hash", script, command("GET", sha), false},
		{"no argument at all", script, command("EVAL"), false},
		{"all", faultproxy.All(faultproxy.Any(), faultproxy.HasArg("k")), get, true},
		{"not all", faultproxy.All(faultproxy.Any(), faultproxy.HasArg("x")), get, false},
		{"not", faultproxy.Not(faultproxy.HasArg("x")), get, true},
	}
	for _, test := range tests {
		if got := test.matcher(test.command); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

func TestMatchersThatCount(t *testing.T) {
	t.Parallel()
	nth := faultproxy.Nth(2, faultproxy.IsCommand("GET"))
	first := faultproxy.First(2, faultproxy.IsCommand("GET"))
	steps := []struct {
		command    string
		nth, first bool
	}{{"GET", false, true}, {"SET", false, false}, {"GET", true, true}, {"GET", false, false}}
	for i, step := range steps {
		c := command(step.command)
		if gotNth, gotFirst := nth(c), first(c); gotNth != step.nth || gotFirst != step.first {
			t.Errorf("step %d: nth %v, first %v", i, gotNth, gotFirst)
		}
	}
}

// TestRuleForAScript sends a script as a client does: by hash, then by source.
func TestRuleForAScript(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	script := redis.NewScript("return redis.call('INCR', KEYS[1])")
	all := b.proxy.Add(faultproxy.IsScript("return redis.call('INCR', KEYS[1])"), faultproxy.Pass)
	third := b.proxy.Add(faultproxy.Nth(3, faultproxy.IsSHA(script.Hash())), faultproxy.CutBeforeForward)
	if err := script.Run(limit(t), b.rdb, []string{"n"}).Err(); err != nil {
		t.Fatal(err)
	}
	if all.Hits() != 2 {
		t.Fatalf("%d hits, want 2: EVALSHA and EVAL", all.Hits())
	}
	if err := script.Run(limit(t), b.rdb, []string{"n"}).Err(); err == nil || third.Hits() != 1 {
		t.Fatalf("the third run: %v, %d hits", err, third.Hits())
	}
	if got := b.get(t, "n"); got != "1" {
		t.Fatalf("n = %s, want 1", got)
	}
}
