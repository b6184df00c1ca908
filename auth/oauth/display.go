package oauth

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxMarks is how many combining marks may stand on one letter. Living scripts use up to three; a tower of them
// would cover the lines around the name on the consent page.
const maxMarks = 3

// DisplayText makes a name that a stranger chose fit to be shown: at most max characters, white space as single
// spaces, and nothing that has no shape of its own or changes how its neighbours look (controls, bidirectional marks,
// zero-width and other invisible characters, private use, broken UTF-8).
func DisplayText(s string, max int) string {
	var out []rune
	marks := 0
	for _, r := range s {
		switch {
		case unicode.IsSpace(r):
			r, marks = ' ', 0
			if len(out) == 0 || out[len(out)-1] == ' ' {
				continue
			}
		case invisible(r):
			continue
		case unicode.Is(unicode.M, r):
			if marks++; marks > maxMarks {
				continue
			}
		default:
			marks = 0
		}
		out = append(out, r)
	}
	return strings.TrimSpace(string(out[:min(len(out), max)]))
}

// invisible reports whether r has no shape of its own: Unicode's format characters (bidi marks, zero-width joiners,
// tags), fillers, blanks that are no space, and variation selectors.
func invisible(r rune) bool {
	// Ranging over a string makes RuneError of what is not UTF-8.
	const brailleBlank = '\u2800'
	return r == utf8.RuneError || r == brailleBlank ||
		unicode.In(r, unicode.C, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}
