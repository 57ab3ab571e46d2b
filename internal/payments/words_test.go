package payments

import (
	"reflect"
	"regexp"
	"strings"
)

// fieldPhrase returns the phrase in a field of the words.
func fieldPhrase(v reflect.Value) (phrase, bool) {
	if v.Type() != reflect.TypeFor[phrase]() {
		return phrase{}, false
	}
	list := func(v reflect.Value) []string {
		var ways []string
		for i := range v.Len() {
			ways = append(ways, v.Index(i).String())
		}
		return ways
	}
	return phrase{french: list(v.Field(0)), english: list(v.Field(1))}, true
}

// FirstWords says a text in the first of the ways that there are, and without the
// number of the message that it answers. Tests read what is said, not how.
func FirstWords(text string) string {
	text = regexp.MustCompile(`\s(N°|No\.)\x{a0}[0-9A-F]{6}$`).ReplaceAllString(text, "")
	again := func(ways []string) {
		for _, way := range ways[1:] {
			pattern := regexp.QuoteMeta(strings.TrimSuffix(way, "%[1]s"))
			pattern = regexp.MustCompile(`%\\\[([0-9])\\\]s`).ReplaceAllString(pattern, `(?P<a$1>\S+?)`)
			first := regexp.MustCompile(`%\[([0-9])\]s`).ReplaceAllString(strings.TrimSuffix(ways[0], "%[1]s"), `${a$1}`)
			text = regexp.MustCompile(pattern).ReplaceAllString(text, first)
		}
	}
	fields := reflect.ValueOf(words)
	for i := range fields.NumField() {
		if p, ok := fieldPhrase(fields.Field(i)); ok {
			again(p.french)
			again(p.english)
		}
	}
	for _, p := range words.refused {
		again(p.french)
		again(p.english)
	}
	return text
}
