package sqltest

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tweetledger/internal/sqldb"
)

// A database made from the script of another is what migrations make; a script
// for other migrations, or one that does not run, makes nothing.
func TestClonedSchemaIsTheMigratedOne(t *testing.T) {
	WholeOnly(t, sqldb.CockroachDB)
	ctx := t.Context()
	migrated := EmptyURL(t, sqldb.CockroachDB)
	open(t, migrated)
	file := filepath.Join(t.TempDir(), "cache", "schema.sql")
	if err := keepSchema(ctx, migrated, file); err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	label, statements, _ := strings.Cut(string(script), "\n")
	clone := EmptyURL(t, sqldb.CockroachDB)
	for name, bad := range map[string]string{
		"other migrations":        label + "0\n" + statements,
		"broken":                  label + "\n" + statements + "SELECT no_such_column;\n",
		"cut off":                 label + "\n" + statements[:len(statements)/2],
		"without its label":       statements,
		"with a part of a label":  label[:len(label)-1] + "\n" + statements,
		"of nothing but a letter": "x",
	} {
		badFile := filepath.Join(t.TempDir(), "bad.sql")
		if err := os.WriteFile(badFile, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if cloned, err := cloneSchema(ctx, clone, badFile); cloned || err != nil {
			t.Fatalf("a script %s: cloned is %v, %v", name, cloned, err)
		}
	}
	if cloned, err := cloneSchema(ctx, clone, file); !cloned || err != nil {
		t.Fatalf("cloned is %v, %v", cloned, err)
	}
	want, got := showTables(ctx, t, migrated), showTables(ctx, t, clone)
	if len(want) == 0 {
		t.Fatal("the migrated database shows no tables")
	}
	if !slices.Equal(got, want) {
		t.Errorf("the clone's tables are\n%s\nthose of the migrated database\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if applied, err := open(t, clone).MigrationStatus(ctx); err != nil || slices.ContainsFunc(applied, func(m sqldb.Migration) bool { return m.AppliedAt.IsZero() }) {
		t.Errorf("the clone's migrations are %v, %v", applied, err)
	}
}

// showTables returns what makes each table of a database, in order of the text.
func showTables(ctx context.Context, t *testing.T, rawURL string) []string {
	t.Helper()
	conn, err := connectTo(ctx, rawURL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	creates, err := textsOf(ctx, conn, "SELECT create_statement FROM [SHOW CREATE ALL TABLES]")
	if err != nil {
		t.Fatal(err)
	}
	name := rawURL[strings.LastIndex(rawURL, "/")+1:]
	name, _, _ = strings.Cut(name, "?")
	for i := range creates {
		creates[i] = strings.ReplaceAll(creates[i], name+".", "")
	}
	slices.Sort(creates)
	return creates
}
