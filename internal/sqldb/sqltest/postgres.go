package sqltest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// postgresPlaces are where packagers put PostgreSQL's server binaries: Debian,
// Fedora and PGDG, Alpine, Homebrew on ARM and Intel, Postgres.app, from source.
var postgresPlaces = [...]string{
	"/usr/lib/postgresql/*/bin",
	"/usr/pgsql-*/bin",
	"/usr/libexec/postgresql*",
	"/opt/homebrew/opt/postgresql*/bin",
	"/usr/local/opt/postgresql*/bin",
	"/Applications/Postgres.app/Contents/Versions/*/bin",
	"/usr/local/pgsql/bin",
}

// findPostgres returns the directory of initdb and postgres, or "". The PATH
// counts first, then the highest version found.
func findPostgres() string {
	if path, err := exec.LookPath("postgres"); err == nil {
		if dir := filepath.Dir(path); hasPostgres(dir) {
			return dir
		}
		if target, err := filepath.EvalSymlinks(path); err == nil && hasPostgres(filepath.Dir(target)) {
			return filepath.Dir(target)
		}
	}
	var found []string
	for _, pattern := range postgresPlaces {
		dirs, _ := filepath.Glob(pattern) // the patterns are well-formed
		found = append(found, slices.DeleteFunc(dirs, func(dir string) bool { return !hasPostgres(dir) })...)
	}
	if len(found) == 0 {
		return ""
	}
	return slices.MaxFunc(found, func(a, b string) int { return versionIn(a) - versionIn(b) })
}

func hasPostgres(dir string) bool {
	for _, name := range []string{"initdb", "postgres"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.IsDir() {
			return false
		}
	}
	return true
}

// versionIn returns the first number in a path, or 0.
func versionIn(path string) int {
	start := strings.IndexAny(path, "0123456789")
	if start < 0 {
		return 0
	}
	digits := path[start:]
	if end := strings.IndexFunc(digits, func(r rune) bool { return r < '0' || r > '9' }); end >= 0 {
		digits = digits[:end]
	}
	version, _ := strconv.Atoi(digits) // too large a number is no version: 0
	return version
}

// startPostgres starts a server on a Unix socket in a new directory, or returns
// nil where the machine has none.
func startPostgres() (*url.URL, error) {
	bin := findPostgres()
	if bin == "" {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	owner, err := serverOwner()
	if err != nil {
		return nil, err
	}
	dir, err := serverDir("postgres", owner)
	if err != nil {
		return nil, err
	}
	p, err := supervise(dir, "QUIT", owner, "/bin/sh", "-c", postgresScript, "postgres", bin, dir)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	address := &url.URL{Scheme: "postgres", User: url.User("postgres"), Path: "/postgres",
		RawQuery: url.Values{"host": {dir}}.Encode()}
	return p.waitReady(ctx, func() (*url.URL, error) { return address, nil })
}

// postgresScript makes a cluster and becomes its server, on a socket in the
// cluster's own directory. A test's database need not survive a crash.
const postgresScript = `
bin=$1 dir=$2
"$bin/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --locale=C --no-sync &&
exec "$bin/postgres" -D "$dir/data" -k "$dir" -c listen_addresses= \
	-c max_connections=400 -c shared_buffers=64MB -c jit=off \
	-c fsync=off -c synchronous_commit=off -c full_page_writes=off -c wal_level=minimal -c max_wal_senders=0
`

// serverDir makes the directory of a server's files.
func serverDir(name string, owner *owner) (string, error) {
	parent := "" // the user's own directory for temporary files
	if owner != nil {
		parent = "/tmp" // root's may be closed to the owner
	}
	dir, err := os.MkdirTemp(parent, "tweetledger-"+name+"-")
	if err != nil {
		return "", fmt.Errorf("directory of the server: %w", err)
	}
	if owner != nil {
		if err := os.Chown(dir, owner.uid, owner.gid); err != nil {
			return "", errors.Join(err, os.Remove(dir))
		}
	}
	return dir, nil
}
