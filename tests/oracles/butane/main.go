// Translates Butane configs with the real Butane, for comparison: one JSON object a line in, one a line out.
package main

import (
	"bufio"
	"encoding/json"
	"os"

	"github.com/coreos/butane/config"
	"github.com/coreos/butane/config/common"
)

type request struct {
	Config string `json:"config"`
	Files  string `json:"files"`
}

type answer struct {
	Ignition string `json:"ignition"`
	Report   string `json:"report"`
	Fatal    bool   `json:"fatal"`
	Error    string `json:"error"`
}

func main() {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := json.NewEncoder(os.Stdout)
	for {
		line, err := in.ReadBytes('\n')
		if len(line) > 0 {
			var asked request
			if err := json.Unmarshal(line, &asked); err != nil {
				panic(err)
			}
			options := common.TranslateBytesOptions{TranslateOptions: common.TranslateOptions{FilesDir: asked.Files}}
			made, report, err := config.TranslateBytes([]byte(asked.Config), options)
			result := answer{Ignition: string(made), Report: report.String(), Fatal: report.IsFatal()}
			if err != nil {
				result.Error = err.Error()
			}
			if err := out.Encode(result); err != nil {
				panic(err)
			}
		}
		if err != nil {
			return
		}
	}
}
