package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/holdfast-go/holdfast/bench/internal/fleet"
)

// describe says what the bench runs on, a line each: nothing that names the machine.
func describe(ctx context.Context, bench *fleet.Bench, jvmDir string) []string {
	redis, err := bench.Server.Info(ctx, "server", "redis_version")
	if err != nil {
		redis = "of unknown version"
	}
	lines := []string{
		fmt.Sprintf("%d cores, %s; %s/%s", runtime.NumCPU(), processor(), runtime.GOOS, runtime.GOARCH),
		fmt.Sprintf("%s, Redis %s on loopback, without persistence", runtime.Version(), redis),
		strings.Join(modules(), ", "),
	}
	if bench.HasJVM() {
		lines = append(lines, fmt.Sprintf("Redisson %s, %s", redissonVersion(jvmDir), java(ctx)))
	}
	return lines
}

// processor is the model of the first core.
func processor() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return "of unknown model"
	}
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, value, _ := strings.Cut(lines.Text(), ":"); strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "of unknown model"
}

// modules are the libraries with their versions.
func modules() []string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return nil
	}
	var all []string
	for _, m := range info.Deps {
		switch m.Path {
		case "github.com/redis/go-redis/v9", "github.com/go-redsync/redsync/v4", "github.com/bsm/redislock",
			"github.com/redis/rueidis":
			all = append(all, strings.TrimPrefix(m.Path, "github.com/")+" "+m.Version)
		}
	}
	return all
}

var redissonPattern = regexp.MustCompile(`<artifactId>redisson</artifactId>\s*<version>([^<]*)<`)

func redissonVersion(dir string) string {
	pom, err := os.ReadFile(filepath.Join(dir, "pom.xml"))
	if m := redissonPattern.FindSubmatch(pom); err == nil && m != nil {
		return string(m[1])
	}
	return "of unknown version"
}

func java(ctx context.Context) string {
	said, err := exec.CommandContext(ctx, "java", "--version").Output()
	if err != nil {
		return "Java of unknown version"
	}
	first, _, _ := strings.Cut(string(said), "\n")
	return first
}
