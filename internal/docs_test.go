package internal_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What docs/ledger.md says a guarantee is tested by is there.
func TestDocumentedTestsExist(t *testing.T) {
	root := ".."
	guide, err := os.ReadFile(filepath.Join(root, "docs", "ledger.md"))
	if err != nil {
		t.Fatal(err)
	}
	var sources strings.Builder
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		suite := filepath.Base(filepath.Dir(path)) == "ledgertest"
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, "_test.go") && !(suite && strings.HasSuffix(path, ".go")) {
			return err
		}
		text, err := os.ReadFile(path)
		sources.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Za-z0-9_]+)(?:/([A-Za-z0-9_]+))?`").FindAllStringSubmatch(string(guide), -1)
	if len(named) == 0 {
		t.Fatal("docs/ledger.md names no test")
	}
	for _, m := range named {
		if !strings.Contains(sources.String(), "\nfunc "+m[1]+"(") || m[2] != "" && !strings.Contains(sources.String(), `{"`+m[2]+`", `) {
			t.Errorf("docs/ledger.md names %s, which is not there", m[0])
		}
	}
}
