//go:build unix

package testredis_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/internal/testredis"
)

// noRetries shows each failure as it happens.
func noRetries(o *redis.Options) { o.MaxRetries, o.DialerRetries = -1, 1 }

func TestStartAnswersAndIsEmpty(t *testing.T) {
	t.Parallel()
	rdb := testredis.Start(t).Client(t)
	if n, err := rdb.DBSize(t.Context()).Result(); n != 0 || err != nil {
		t.Fatalf("DBSIZE = %d, %v", n, err)
	}
	if err := rdb.Do(t.Context(), "DEBUG", "SLEEP", "0").Err(); err != nil {
		t.Fatalf("DEBUG is refused: %v", err)
	}
}

func TestStartManyAtOnce(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for range 5 {
		s := testredis.Start(t)
		if seen[s.Addr()] {
			t.Fatalf("%s was given twice", s.Addr())
		}
		seen[s.Addr()] = true
	}
}

func TestArgumentsOfTheCallerWin(t *testing.T) {
	t.Parallel()
	rdb := testredis.Start(t, "--appendonly", "yes", "--save", "60 1").Client(t)
	for name, want := range map[string]string{"appendonly": "yes", "save": "60 1"} {
		got, err := rdb.ConfigGet(t.Context(), name).Result()
		if err != nil || got[name] != want {
			t.Errorf("CONFIG GET %s = %v, %v; want %q", name, got, err, want)
		}
	}
}

func TestPasswordIsTakenFromTheArguments(t *testing.T) {
	t.Parallel()
	s := testredis.Start(t, "--requirepass", "geheim")
	if err := s.Client(t).Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	count := s.CountClientCommands(t)
	if err := s.Client(t).Get(t.Context(), "k").Err(); !errors.Is(err, redis.Nil) {
		t.Fatal(err)
	}
	if got := count.Total(); got != 1 {
		t.Fatalf("counted %d commands, want 1", got)
	}
}

func TestFlush(t *testing.T) {
	t.Parallel()
	rdb := testredis.Start(t).Client(t)
	rdb.Set(t.Context(), "k", "v", 0)
	testredis.Flush(t, rdb)
	if n, err := rdb.DBSize(t.Context()).Result(); n != 0 || err != nil {
		t.Fatalf("DBSIZE = %d, %v", n, err)
	}
}

func TestRestartKeepsPortAndDirectory(t *testing.T) {
	t.Parallel()
	s := testredis.Start(t, "--appendonly", "yes")
	addr := s.Addr()
	rdb := s.Client(t, noRetries)
	if err := rdb.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	if err := s.Client(t, noRetries).Ping(t.Context()).Err(); err == nil {
		t.Fatal("a stopped server answers")
	}
	if err := s.Claim(); err == nil {
		t.Fatal("the port of a stopped server could be taken by another test")
	}
	s.Restart("--maxmemory-policy", "volatile-ttl")
	if s.Addr() != addr {
		t.Fatalf("the address changed from %s to %s", addr, s.Addr())
	}
	rdb = s.Client(t, noRetries)
	if got, err := rdb.Get(t.Context(), "k").Result(); got != "v" || err != nil {
		t.Fatalf("after the restart k = %q, %v", got, err)
	}
	if got, err := rdb.ConfigGet(t.Context(), "maxmemory-policy").Result(); got["maxmemory-policy"] != "volatile-ttl" {
		t.Fatalf("the new argument is not in force: %v, %v", got, err)
	}
	if s.Commands(t)["GET"] != 1 {
		t.Fatalf("the helpers do not see the new process: %v", s.Commands(t))
	}
}

func TestKillLosesWhatWasNotSaved(t *testing.T) {
	t.Parallel()
	s := testredis.Start(t)
	if err := s.Client(t).Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	s.Kill()
	s.Kill() // nothing more to end
	s.Stop()
	s.Restart()
	if err := s.Client(t).Get(t.Context(), "k").Err(); !errors.Is(err, redis.Nil) {
		t.Fatalf("GET = %v, want redis.Nil", err)
	}
}

func TestPauseHoldsCommandsUntilResume(t *testing.T) {
	t.Parallel()
	s := testredis.Start(t)
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // its end is not what is tested
	s.Pause()
	if _, err = io.WriteString(conn, "SET late 1\r\n"); err != nil {
		t.Fatal(err)
	}
	reply := make([]byte, len("+OK\r\n"))
	_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err = io.ReadFull(conn, reply); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("a paused server answered %q, %v", reply, err)
	}
	s.Resume()
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err = io.ReadFull(conn, reply); err != nil || string(reply) != "+OK\r\n" {
		t.Fatalf("after the pause: %q, %v", reply, err)
	}
}

// Stop is the end that an operator gives, also to a server that is paused: it saves.
func TestStopLetsAPausedServerSave(t *testing.T) {
	t.Parallel()
	s := testredis.Start(t, "--save", "3600 1")
	if err := s.Client(t).Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	s.Pause()
	s.Stop()
	s.Restart()
	if got, err := s.Client(t).Get(t.Context(), "k").Result(); got != "v" || err != nil {
		t.Fatalf("after the restart k = %q, %v", got, err)
	}
}

func TestRestartWaitsForTheDataAndRestartLoadingDoesNot(t *testing.T) {
	t.Parallel()
	s := testredis.Start(t, "--loading-process-events-interval-bytes", "1024")
	rdb := s.Client(t, noRetries)
	for _, command := range [][]any{{"DEBUG", "POPULATE", "20000"}, {"SAVE"}} {
		if err := rdb.Do(t.Context(), command...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	set := func() error { return s.Client(t, noRetries).Set(t.Context(), "k", "v", 0).Err() }
	s.Kill()
	s.RestartLoading("--key-load-delay", "500") // microseconds a key: ten seconds
	if err := set(); !redis.HasErrorPrefix(err, "LOADING") {
		t.Fatalf("SET = %v, want LOADING", err)
	}
	s.Kill()
	s.Restart("--key-load-delay", "10")
	if err := set(); err != nil {
		t.Fatal(err)
	}
}

// TestServerDiesWithTheTestProcess runs itself as a process of its own, starts a
// server there and kills that process, so that no cleanup runs.
func TestServerDiesWithTheTestProcess(t *testing.T) {
	const variable = "HOLDFAST_TESTREDIS_CHILD"
	if os.Getenv(variable) != "" {
		fmt.Printf("server %d\n", testredis.Start(t).Pid())
		<-t.Context().Done() // until killed
		return
	}
	if !testredis.DiesWithParent() {
		t.Skip("no parent-death signal on this system")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestServerDiesWithTheTestProcess$")
	cmd.Env = append(os.Environ(), variable+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err = cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := 0
	for lines := bufio.NewScanner(out); pid == 0 && lines.Scan(); {
		if number, ok := strings.CutPrefix(lines.Text(), "server "); ok {
			pid, err = strconv.Atoi(number)
		}
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if pid == 0 || err != nil {
		t.Fatalf("the child started no server: %v", err)
	}
	poll(t, "the server is gone", func() bool { return !running(pid) })
}

// running counts a zombie as gone: who reaps it is not our business.
func running(pid int) bool {
	if err := syscall.Kill(pid, 0); err != nil {
		return false
	}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

// poll waits until the condition is true, and fails the test if it never is.
func poll(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	for !ok() {
		select {
		case <-ticker.C:
		case <-deadline.C:
			t.Fatalf("not in time: %s", what)
		}
	}
}
