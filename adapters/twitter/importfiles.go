package twitter

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"tweetledger/ledger"
)

// importFile is one file to read, with whose archive it is of.
type importFile struct {
	path  string
	size  int64
	owner Owner
	notes string // path of note-tweet.js beside it, or ""
}

func (f importFile) name() string {
	if f.path == Stdin {
		return "standard input"
	}
	return f.path
}

// archivePart matches the names of an archive's files of tweets: tweets.js,
// tweets-part1.js; tweet.js in archives of before 2022.
var archivePart = regexp.MustCompile(`^tweets?(?:-part([0-9]{1,6}))?\.js$`)

// findFiles returns the files that path stands for.
func findFiles(path string, owner Owner) ([]importFile, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, inFile(path, openError(err))
	}
	if !info.IsDir() {
		return withOwner([]string{path}, owner)
	}
	for _, dir := range []string{path, filepath.Join(path, "data")} {
		names, err := archiveParts(dir)
		if err != nil {
			return nil, inFile(dir, openError(err))
		}
		if len(names) > 0 {
			return withOwner(names, owner)
		}
	}
	names, err := jsonFiles(path)
	if err != nil {
		return nil, inFile(path, openError(err))
	}
	if len(names) == 0 {
		return nil, inFile(path, ledger.Errorf(ledger.CodeNotFound, "there is neither tweets.js (or data/tweets.js) of an archive nor a .json, .jsonl or .ndjson file in this folder"))
	}
	return withOwner(names, owner)
}

func inFile(path string, err error) error {
	return &ImportError{File: path, Offset: -1, Err: err}
}

// archiveParts returns the archive's files of tweets in dir, in the order of
// their parts; none where there is no such dir.
func archiveParts(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	type part struct {
		number int
		path   string
	}
	var parts []part
	for _, e := range entries {
		match := archivePart.FindStringSubmatch(e.Name())
		if match == nil || e.IsDir() {
			continue
		}
		number := 0
		if match[1] != "" {
			if number, err = strconv.Atoi(match[1]); err != nil {
				return nil, err
			}
		}
		parts = append(parts, part{number, filepath.Join(dir, e.Name())})
	}
	slices.SortFunc(parts, func(a, b part) int {
		if a.number != b.number {
			return a.number - b.number
		}
		return strings.Compare(a.path, b.path)
	})
	paths := make([]string, len(parts))
	for i, p := range parts {
		paths[i] = p.path
	}
	return paths, nil
}

func jsonFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, e := range entries {
		switch strings.ToLower(filepath.Ext(e.Name())) {
		case ".json", ".jsonl", ".ndjson":
			if !e.IsDir() {
				paths = append(paths, filepath.Join(dir, e.Name()))
			}
		}
	}
	return paths, nil
}

// withOwner completes the files of one folder with what stands beside them.
func withOwner(names []string, owner Owner) ([]importFile, error) {
	files := make([]importFile, 0, len(names))
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			return nil, inFile(name, openError(err))
		}
		f := importFile{path: name, size: info.Size(), owner: owner}
		if archivePart.MatchString(filepath.Base(name)) {
			dir := filepath.Dir(name)
			if f.owner, err = archiveOwner(filepath.Join(dir, "account.js"), owner); err != nil {
				return nil, err
			}
			if notes := filepath.Join(dir, "note-tweet.js"); exists(notes) {
				f.notes = notes
			}
		}
		files = append(files, f)
	}
	return files, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// maxAccountBytes bounds account.js, which holds one account in a few lines.
const maxAccountBytes = 1 << 20

// archiveOwner reads account.js. Who imports an archive under another id than it
// is of would make one person pay for another: that is refused.
func archiveOwner(path string, given Owner) (Owner, error) {
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return given, nil
	}
	if err != nil {
		return given, inFile(path, openError(err))
	}
	defer file.Close()
	raw, err := io.ReadAll(io.LimitReader(file, maxAccountBytes))
	if err != nil {
		return given, inFile(path, openError(err))
	}
	_, body, found := strings.Cut(string(raw), "=")
	var accounts []struct {
		Account struct {
			ID       numericID `json:"accountId"`
			Username string    `json:"username"`
		} `json:"account"`
	}
	if err := json.Unmarshal([]byte(strings.TrimRight(body, "; \r\n\t")), &accounts); err != nil || !found || len(accounts) != 1 || accounts[0].Account.ID == "" {
		return given, inFile(path, ledger.Errorf(ledger.CodeInvalid, "does not name one account as archives do; repair it, or take it away and give the owner's id"))
	}
	owner := Owner{ID: string(accounts[0].Account.ID), Handle: accounts[0].Account.Username}
	if given.ID != "" && given.ID != owner.ID {
		return given, inFile(path, ledger.Errorf(ledger.CodeConflict, "the archive is of account %s (@%s), not of %s; leave the owner out or give the right archive", owner.ID, clip(owner.Handle), given.ID))
	}
	if given.Handle != "" {
		owner.Handle = given.Handle
	}
	return owner, nil
}
