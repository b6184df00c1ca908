package admin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// The difference of two tool definitions, as a person reads it: member by member, text by line, with every character
// that cannot be seen shown as its code.

// maxDiffLines bounds the comparison, whose work grows with the product of both sides.
const maxDiffLines = 2000

// firstMembers are shown first, in this order: they are what an agent reads. The rest follows by name.
var firstMembers = []string{"name", "title", "description", "inputSchema", "outputSchema", "annotations"}

// diffDefinitions is what changed in one tool, a line each.
func diffDefinitions(c Change) []string {
	head := shown(c.Connector) + " " + shown(c.Tool)
	if !c.At.IsZero() {
		head += ", changed " + c.At.UTC().Format("2006-01-02 15:04 UTC")
	}
	var found []string
	if len(c.Hidden) > 0 {
		found = []string{"  characters that nobody sees: " + shown(strings.Join(c.Hidden, ", "))}
	}
	if c.Offered == nil {
		return append([]string{head}, found...)
	}
	// White space is gone already: the door's answer is compact.
	before, after := members(c.Accepted), members(c.Offered)
	lines := []string{head}
	for _, name := range memberNames(before, after) {
		if !bytes.Equal(before[name], after[name]) {
			lines = append(lines, diffMember(name, before[name], after[name])...)
		}
	}
	// The bytes differ, or it would not be here; what they mean does not.
	if len(lines) == 1 {
		lines = append(lines, "  only white space or order differs")
	}
	return append(lines, found...)
}

// members cuts a definition. One that is no object is shown whole under its own name.
func members(definition json.RawMessage) map[string]json.RawMessage {
	var m map[string]json.RawMessage
	if json.Unmarshal(definition, &m) != nil {
		return map[string]json.RawMessage{"definition": definition}
	}
	return m
}

// memberNames are those of both sides, what an agent reads first.
func memberNames(a, b map[string]json.RawMessage) []string {
	var names []string
	for _, m := range []map[string]json.RawMessage{a, b} {
		for name := range m {
			if !slices.Contains(firstMembers, name) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return append(slices.Clone(firstMembers), slices.Compact(names)...)
}

// diffMember is what changed in one member. The count of hidden characters stands at its head: whoever reads only heads
// sees that something is wrong.
func diffMember(name string, before, after json.RawMessage) []string {
	text, n := escaped(name)
	old, hiddenOld := memberLines(before)
	now, hiddenNow := memberLines(after)
	head := "  " + text
	if hiddenNow+n > 0 && hiddenNow != hiddenOld {
		head += fmt.Sprintf("   (%s that cannot be seen)", many(hiddenNow, "character"))
	}
	lines := []string{head}
	for _, l := range diffLines(old, now) {
		lines = append(lines, "    "+l)
	}
	return lines
}

// memberLines are the lines of a value: those of a text, or of JSON indented in its own order.
func memberLines(value json.RawMessage) (lines []string, invisible int) {
	if len(value) == 0 {
		return nil, 0
	}
	var text string
	// A text is shown as it is read, not as JSON writes it: what an agent sees is what is to be judged.
	if json.Unmarshal(value, &text) != nil {
		var b bytes.Buffer
		// in its own order, with its own numbers: decoding would lose what is beyond 2^53
		if json.Indent(&b, value, "", "  ") != nil {
			b.Reset()
			b.Write(value)
		}
		text = b.String()
	}
	for line := range strings.SplitSeq(text, "\n") {
		line, n := escaped(line)
		lines, invisible = append(lines, line), invisible+n
	}
	return lines, invisible
}

// diffLines marks what goes with "-" and what comes with "+"; of what stays, the lines beside a change are shown.
// It is the longest common subsequence; beyond maxDiffLines one side simply follows the other.
func diffLines(before, after []string) []string {
	if len(before) > maxDiffLines || len(after) > maxDiffLines {
		return append(marked("- ", before), marked("+ ", after)...)
	}
	// Quadratic, and bounded above: a definition of two thousand lines takes a few milliseconds.
	common := lcs(before, after)
	var all []string
	for i, j := 0, 0; i < len(before) || j < len(after); {
		switch {
		case i < len(before) && j < len(after) && before[i] == after[j]:
			all = append(all, "  "+before[i])
			i, j = i+1, j+1
		case j == len(after) || i < len(before) && common[i+1][j] >= common[i][j+1]:
			all = append(all, "- "+before[i])
			i++
		default:
			all = append(all, "+ "+after[j])
			j++
		}
	}
	return nearChanges(all)
}

// marked puts a sign before each line.
func marked(mark string, lines []string) (out []string) {
	for _, l := range lines {
		out = append(out, mark+l)
	}
	return out
}

// lcs[i][j] is the length of the longest common subsequence of before[i:] and after[j:].
func lcs(before, after []string) [][]int32 {
	table := make([][]int32, len(before)+1)
	// one piece of memory: at most 16 MB, by maxDiffLines
	cells := make([]int32, (len(before)+1)*(len(after)+1))
	for i := range table {
		table[i], cells = cells[:len(after)+1], cells[len(after)+1:]
	}
	for i := len(before) - 1; i >= 0; i-- {
		for j := len(after) - 1; j >= 0; j-- {
			if before[i] == after[j] {
				table[i][j] = table[i+1][j+1] + 1
			} else {
				table[i][j] = max(table[i+1][j], table[i][j+1])
			}
		}
	}
	return table
}

// context is how many unchanged lines stand around a change.
const around = 2

// nearChanges leaves out what stays far from any change.
func nearChanges(lines []string) (out []string) {
	keep := make([]bool, len(lines))
	for i, l := range lines {
		if l[0] != ' ' {
			for k := max(0, i-around); k <= min(len(lines)-1, i+around); k++ {
				keep[k] = true
			}
		}
	}
	for i, l := range lines {
		switch {
		case keep[i]:
			out = append(out, l)
		case i > 0 && keep[i-1] && i < len(lines)-1, i == 0 && len(lines) > 1:
			out = append(out, "  ...")
		}
	}
	return out
}
