package main

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tweetledger/internal/payments"
)

// eachCommand calls fn for every command of the program but those of cobra.
func eachCommand(t *testing.T, fn func(t *testing.T, c *cobra.Command)) {
	t.Helper()
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		t.Run(strings.ReplaceAll(c.CommandPath(), " ", "_"), func(t *testing.T) { fn(t, c) })
		for _, sub := range c.Commands() {
			visit(sub)
		}
	}
	visit((&app{environment: environment{out: &bytes.Buffer{}, err: &bytes.Buffer{}}}).rootCommand())
}

// terminalWidth is what help is written for.
const terminalWidth = 90

// Every command says in a line what it is for, and in some more how it is used.
func TestHelp(t *testing.T) {
	eachCommand(t, func(t *testing.T, c *cobra.Command) {
		if c.Short == "" || strings.HasSuffix(c.Short, ".") || strings.Contains(c.Short, "\n") || utf8.RuneCountInString(c.Short) > terminalWidth {
			t.Errorf("Short is %q; want one line of at most %d characters without a full stop", c.Short, terminalWidth)
		}
		for line := range strings.Lines(c.Long) {
			if utf8.RuneCountInString(strings.TrimSuffix(line, "\n")) > terminalWidth {
				t.Errorf("a line of Long is longer than %d characters: %q", terminalWidth, line)
			}
		}
		if c.HasSubCommands() {
			return
		}
		if c.Long == "" {
			t.Error("the command has no Long")
		}
		if c.Example == "" && c.Name() != "version" {
			t.Error("the command has no Example")
		}
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" {
				t.Errorf("--%s has no description", f.Name)
			}
		})
	})
}

var quoted = regexp.MustCompile(`"[^"]*"`)

// Every example is a command line that the command takes, or what another person does
// after it.
func TestExamples(t *testing.T) {
	eachCommand(t, func(t *testing.T, c *cobra.Command) {
		own := c.Example == ""
		for line := range strings.Lines(c.Example) {
			line, _, _ = strings.Cut(strings.TrimSpace(quoted.ReplaceAllString(line, "TEXT")), "<")
			line, _, _ = strings.Cut(line, " > ")
			words := strings.Fields(line)
			if len(words) == 0 || words[0] != "tweetledger" {
				t.Errorf("%q does not begin with tweetledger", line)
				continue
			}
			found, rest, err := c.Root().Find(words[1:])
			if err != nil || found.HasSubCommands() {
				t.Errorf("%q is no command (%v)", line, err)
				continue
			}
			own = own || found == c
			if err := found.ParseFlags(rest); err != nil {
				t.Errorf("%q: %v", line, err)
				continue
			}
			if err := found.ValidateArgs(found.Flags().Args()); err != nil {
				t.Errorf("%q: %v", line, err)
			}
		}
		if !own {
			t.Errorf("%q has no example of its own", c.CommandPath())
		}
	})
}

// The guide to operations has every command.
func TestOperationsNameEveryCommand(t *testing.T) {
	guide, err := os.ReadFile(filepath.Join("..", "..", "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	eachCommand(t, func(t *testing.T, c *cobra.Command) {
		if c.HasParent() && !c.Parent().HasParent() && !bytes.Contains(guide, []byte("`"+c.Name()+"`")) {
			t.Errorf("docs/operations.md does not say what `%s` is for", c.Name())
		}
	})
}

// The example configuration shows every setting, and its defaults are those that the
// payment service has by itself.
func TestExampleConfiguration(t *testing.T) {
	var read map[string]map[string]any
	if _, err := toml.Decode(exampleConfig, &read); err != nil {
		t.Fatal(err)
	}
	all := reflect.TypeFor[settings]()
	for i := range all.NumField() {
		table := all.Field(i).Tag.Get("toml")
		if table == "" {
			continue
		}
		section, shown := all.Field(i).Type, []map[string]any{read[table]}
		if section.Kind() == reflect.Map { // sections with names of their own, of which there is an example
			section, shown = section.Elem(), nil
			for _, example := range read[table] {
				shown = append(shown, example.(map[string]any))
			}
		}
		for j := range section.NumField() {
			name := section.Field(j).Tag.Get("toml")
			if name == "" {
				continue // not a setting, but what is known about one
			}
			if len(shown) == 0 || shown[0][name] == nil {
				t.Errorf("the example configuration does not show %s.%s", table, name)
			}
		}
	}
	s, err := (&app{environment: environment{getenv: func(name string) string {
		return map[string]string{"TWEETLEDGER_KEY": testKey}[name]
	}}, configFile: os.DevNull}).settings()
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.payments()
	if err != nil {
		t.Fatal(err)
	}
	want := payments.DefaultConfig()
	want.Key, want.PageURL = got.Key, got.PageURL
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the example configuration gives\n%+v\nand the service's own defaults are\n%+v", got, want)
	}
}
