// Package internal_test holds what is true of the module as a whole.
package internal_test

import (
	"errors"
	"go/build"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "tweetledger/"

// mayImport is the import table: which packages of this module each package may
// import, and so which way the dependencies run. A name ending in /... is a
// package with all below it. .golangci.yml says the same to the linter; this test
// needs nothing but Go.
var mayImport = map[string][]string{
	"ledger":             {},
	"ledger/ledgertest":  {"ledger"},
	"ledger/engine":      {"ledger", "internal/sqldb"},
	"ledger/ledgerbench": {"ledger", "ledger/engine", "internal/sqldb"},
	"ledger/faulttest":   {"ledger", "ledger/engine", "internal/sqldb"},

	"internal/sqldb":         {"ledger"},
	"internal/sqldb/sqltest": {"internal/sqldb"},
	"internal/metrics":       {},

	"internal/payments":              {"ledger", "ledger/engine", "internal/sqldb"},
	"internal/payments/paymentstest": {"ledger", "ledger/engine", "internal/sqldb", "internal/payments"},
	"internal/payouts":               {"ledger", "ledger/engine", "internal/sqldb", "internal/payments"},
	"reconciliation":                 {"ledger", "ledger/engine", "internal/sqldb", "internal/payments", "internal/payouts"},
	"reports":                        {"ledger", "ledger/engine", "internal/sqldb", "internal/payments", "internal/payouts", "reconciliation"},
	"reports/render":                 {"ledger", "reports"},

	"internal/statements": {"ledger", "ledger/engine", "internal/sqldb", "internal/payments", "reports"},

	"internal/httpapi": {"ledger", "ledger/engine", "internal/sqldb", "internal/payments", "internal/payouts", "internal/statements", "reconciliation", "reports/..."},
	"internal/console": {"ledger", "ledger/engine", "internal/sqldb", "internal/payments", "internal/payouts", "reconciliation", "reports/..."},

	"adapters/...": {"ledger", "internal/payments", "internal/payouts", "reconciliation"},
	"cmd/...": {"ledger", "ledger/engine", "ledger/ledgerbench", "internal/sqldb", "internal/payments", "internal/payouts", "internal/statements", "internal/metrics",
		"reconciliation", "reports/...", "internal/httpapi", "internal/console", "adapters/..."},
}

// thirdParties bounds what the domain may stand on.
var thirdParties = map[string][]string{
	"ledger": {"github.com/google/uuid", "github.com/shopspring/decimal"},
}

func TestImportsRunOneWay(t *testing.T) {
	for name, p := range packages(t) {
		allowed, ok := ruleOf(name)
		if !ok {
			t.Errorf("package %s is not in the import table: add what it may import, here and in .golangci.yml", name)
			continue
		}
		for _, path := range p.Imports {
			imported, ours := strings.CutPrefix(path, module)
			switch {
			case ours && !matches(allowed, imported):
				t.Errorf("%s imports %s; it may import %v", name, imported, allowed)
			case !ours && strings.Contains(path, ".") && thirdParties[name] != nil && !slices.Contains(thirdParties[name], path):
				t.Errorf("%s imports %s; of other modules it may import %v", name, path, thirdParties[name])
			}
		}
		// A test may wire up a real book, but an adapter only where it is tested.
		for _, path := range slices.Concat(p.TestImports, p.XTestImports) {
			imported, ours := strings.CutPrefix(path, module)
			if ours && matches([]string{"adapters/..."}, imported) && !matches([]string{"adapters/...", "cmd/...", "internal/payments/paymentstest"}, name) {
				t.Errorf("the tests of %s import %s: adapters are for cmd and for their own tests", name, imported)
			}
		}
	}
}

// A table that forbids nothing would let the test above pass.
func TestImportTableForbids(t *testing.T) {
	for _, pair := range [][2]string{
		{"ledger", "internal/sqldb"},
		{"ledger/engine", "internal/payments"},
		{"internal/payments", "internal/payouts"},
		{"internal/payouts", "adapters/bank"},
		{"reconciliation", "reports"},
		{"reports", "reports/render"},
		{"internal/console", "adapters/notify"},
		{"adapters/bank", "internal/sqldb"},
		{"adapters/twitter", "internal/console"},
		{"cmd/tweetledger", "internal/sqldb/sqltest"},
	} {
		if allowed, _ := ruleOf(pair[0]); matches(allowed, pair[1]) {
			t.Errorf("the import table lets %s import %s", pair[0], pair[1])
		}
	}
}

// ruleOf returns what a package may import. An adapter may import its own parts.
func ruleOf(name string) ([]string, bool) {
	if allowed, ok := mayImport[name]; ok {
		return allowed, true
	}
	for _, pattern := range slices.Sorted(maps.Keys(mayImport)) {
		if !matches([]string{pattern}, name) {
			continue
		}
		allowed := mayImport[pattern]
		if parts := strings.Split(name, "/"); parts[0] == "adapters" && len(parts) > 1 {
			allowed = append(slices.Clone(allowed), "adapters/"+parts[1]+"/...")
		}
		return allowed, true
	}
	return nil, false
}

func matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		tree, below := strings.CutSuffix(pattern, "/...")
		return name == tree || below && strings.HasPrefix(name, tree+"/")
	})
}

// packages reads the module's packages but this one. It does so itself, not
// through go list, so that go test knows which files its answer depends on.
func packages(t *testing.T) map[string]*build.Package {
	t.Helper()
	all := map[string]*build.Package{}
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() || path == ".." {
			return err
		}
		if skipped := strings.ContainsAny(entry.Name()[:1], "._"); skipped || entry.Name() == "testdata" || entry.Name() == "tools" {
			return fs.SkipDir
		}
		p, err := build.ImportDir(path, 0)
		if _, empty := errors.AsType[*build.NoGoError](err); empty {
			return nil
		}
		if name := filepath.ToSlash(strings.TrimPrefix(path, ".."+string(filepath.Separator))); name != "internal" {
			all[name] = p
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < len(mayImport)/2 {
		t.Fatalf("there are only %d packages in the module", len(all))
	}
	return all
}
