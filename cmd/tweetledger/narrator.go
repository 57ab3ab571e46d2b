package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/fatih/color"
)

// narrator tells a story on a terminal: chapters, what people do, what comes of it.
type narrator struct {
	out     io.Writer
	chapter int
	title   *color.Color
	who     *color.Color
	good    *color.Color
	bad     *color.Color
	faint   *color.Color
}

func newNarrator(out io.Writer, coloured bool) *narrator {
	style := func(attributes ...color.Attribute) *color.Color {
		c := color.New(attributes...)
		if coloured {
			c.EnableColor()
		} else {
			c.DisableColor()
		}
		return c
	}
	return &narrator{out: out, title: style(color.Bold, color.FgCyan), who: style(color.Bold),
		good: style(color.FgGreen), bad: style(color.FgYellow), faint: style(color.Faint)}
}

// heading begins a chapter.
func (n *narrator) heading(title string) {
	n.chapter++
	fmt.Fprintf(n.out, "\n%s\n", n.title.Sprintf("%d. %s", n.chapter, title))
}

// tell is a line of the story.
func (n *narrator) tell(format string, args ...any) {
	fmt.Fprintf(n.out, "   %s\n", fmt.Sprintf(format, args...))
}

// says is what somebody writes or says.
func (n *narrator) says(who, format string, args ...any) {
	fmt.Fprintf(n.out, "   %s  %s\n", n.who.Sprint(pad(who)), fmt.Sprintf(format, args...))
}

// ok and refused are what comes of it.
func (n *narrator) ok(format string, args ...any) {
	fmt.Fprintf(n.out, "   %s%s\n", strings.Repeat(" ", nameWidth+2), n.good.Sprint("→ "+fmt.Sprintf(format, args...)))
}

func (n *narrator) refused(format string, args ...any) {
	fmt.Fprintf(n.out, "   %s%s\n", strings.Repeat(" ", nameWidth+2), n.bad.Sprint("→ "+fmt.Sprintf(format, args...)))
}

// aside explains.
func (n *narrator) aside(format string, args ...any) {
	fmt.Fprintf(n.out, "   %s\n", n.faint.Sprintf(format, args...))
}

// nameWidth fits the names of everybody in the story.
const nameWidth = 12

func pad(name string) string {
	if missing := nameWidth - len([]rune(name)); missing > 0 {
		return name + strings.Repeat(" ", missing)
	}
	return name
}
