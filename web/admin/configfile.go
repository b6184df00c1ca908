package admin

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// ConfigFile is a configuration file that was read: it knows on which line each key stands.
type ConfigFile struct {
	path  string
	lines map[string]int // key path as it is written, "tokens.access_ttl", to line
}

// maxConfig bounds the file; maxFaults the report.
const (
	maxConfig = 1 << 20
	maxFaults = 50
)

// ReadConfig decodes the TOML file at path into the struct that into points to. An unknown key is an error with its
// line and the nearest known key; all faults are reported at once.
func ReadConfig(path string, into any) (*ConfigFile, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w: start from config.example.toml", err)
	}
	if info.Size() > maxConfig {
		return nil, fmt.Errorf("%s: larger than %d bytes: is it the configuration file?", path, maxConfig)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	f := &ConfigFile{path: path, lines: keyLines(text)}
	return f, f.decode(text, into)
}

// decode collects faults: a value of the wrong type stops the decoder, so its line is blanked and the rest read again.
func (f *ConfigFile) decode(text []byte, into any) error {
	known := knownKeys(reflect.TypeOf(into), "")
	var faults []error
	for len(faults) < maxFaults {
		err := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields().Decode(into)
		var unknown *toml.StrictMissingError
		var wrong *toml.DecodeError
		switch {
		case err == nil:
			return errors.Join(faults...)
		// only at the end of a file that decodes: all of them at once
		case errors.As(err, &unknown):
			for _, e := range unknown.Errors {
				line, _ := e.Position()
				faults = append(faults, f.at(line, unknownKey(strings.Join(e.Key(), "."), known)))
			}
			return errors.Join(faults...)
		// the decoder stops at the first: without its line the next one shows
		case errors.As(err, &wrong):
			line, _ := wrong.Position()
			faults = append(faults, f.at(line, wrongValue(wrong)))
			if text, line = blankLine(text, line); line == 0 {
				return errors.Join(faults...)
			}
		default:
			return errors.Join(append(faults, fmt.Errorf("%s: %w", f.path, err))...)
		}
	}
	return errors.Join(faults...)
}

// wrongValue is the decoder's own sentence behind the key that it is about.
func wrongValue(e *toml.DecodeError) string {
	what := strings.TrimPrefix(e.Error(), "toml: ")
	if key := strings.Join(e.Key(), "."); key != "" {
		return key + ": " + what
	}
	return what
}

// unknownKey names the key that was probably meant: nearly all unknown keys are misspelt ones.
func unknownKey(key string, known []string) string {
	msg := fmt.Sprintf("unknown key %s", key)
	if near := nearest(key, known); near != "" {
		msg += fmt.Sprintf(": did you mean %s?", near)
	}
	return msg
}

// at puts file and line in front, in the form that editors jump to.
func (f *ConfigFile) at(line int, what string) error {
	return fmt.Errorf("%s:%d: %s", f.path, line, what)
}

// Locate adds file and line to each fault of err whose text begins with a key path ("tokens.access_ttl: ..."). A key
// that stands nowhere gets the file alone.
func (f *ConfigFile) Locate(err error) error {
	if err == nil {
		return nil
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		var out []error
		for _, e := range many.Unwrap() {
			out = append(out, f.Locate(e))
		}
		return errors.Join(out...)
	}
	key, _, _ := strings.Cut(err.Error(), ":")
	if line := f.line(key); line > 0 {
		return fmt.Errorf("%s:%d: %w", f.path, line, err)
	}
	return fmt.Errorf("%s: %w", f.path, err)
}

// line finds the line of a key path, of an element of an array of tables ("clients.registered[1]", from 0), or of what it stands in.
func (f *ConfigFile) line(key string) int {
	for key != "" {
		if line := f.lines[key]; line > 0 {
			return line
		}
		cut := strings.LastIndexAny(key, ".[")
		if cut < 0 {
			return 0
		}
		key = key[:cut]
	}
	return 0
}

// keyLines walks the file's expressions. A file with a syntax error gives what stands before it.
func keyLines(text []byte) map[string]int {
	lines, table, count := map[string]int{}, "", map[string]int{}
	var p unstable.Parser
	p.Reset(text)
	for p.NextExpression() {
		e := p.Expression()
		var parts []string
		at := 0
		for it := e.Key(); it.Next(); {
			if parts = append(parts, string(it.Node().Data)); at == 0 {
				at = p.Shape(it.Node().Raw).Start.Line
			}
		}
		name := strings.Join(parts, ".")
		switch e.Kind {
		case unstable.Table:
			table = name + "."
		// [[name]] is counted as Validate counts: connector[0]
		case unstable.ArrayTable:
			count[name]++
			name = fmt.Sprintf("%s[%d]", name, count[name]-1)
			table = name + "."
		default: // a key belongs to the table above it
			name = table + name
		}
		lines[strings.TrimSuffix(name, ".")] = at
	}
	return lines
}

// blankLine empties one line, counted from 1; line 0 comes back when there is nothing left to empty.
func blankLine(text []byte, line int) ([]byte, int) {
	all := bytes.Split(slices.Clone(text), []byte("\n"))
	if line < 1 || line > len(all) || len(bytes.TrimSpace(all[line-1])) == 0 {
		return text, 0
	}
	all[line-1] = nil
	return bytes.Join(all, []byte("\n")), line
}

// knownKeys lists every key path of a configuration type by its TOML tags.
func knownKeys(t reflect.Type, prefix string) (out []string) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	for i := range t.NumField() {
		tag := t.Field(i).Tag.Get("toml")
		if tag == "" || tag == "-" {
			continue
		}
		out = append(out, prefix+tag)
		out = append(out, knownKeys(t.Field(i).Type, prefix+tag+".")...)
	}
	return out
}

// nearest returns the known key that key was probably meant to be: the fewest edits, at most a third of its length; a
// key of the same last name in another section counts as near.
func nearest(key string, known []string) string {
	best, bestCost := "", len(key)/3+1
	for _, k := range known {
		cost := edits(key, k)
		if last(k) == last(key) {
			cost = min(cost, 2)
		}
		if cost < bestCost {
			best, bestCost = k, cost
		}
	}
	return best
}

// last is a key without the sections it stands in.
func last(key string) string { return key[strings.LastIndexByte(key, '.')+1:] }

// edits is the Levenshtein distance.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
