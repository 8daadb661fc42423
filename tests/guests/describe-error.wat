;; Refuses every settings, with a text that would recolour a terminal and forge a log line. The host must show the text
;; to the operator on one line, without the control characters.
(func $describe (param $settings i32) (param $settings-length i32) (result i32)
  (call $error-text (global.get $describe:size) (global.get $describe:payload) (i32.const 4096) (i32.const 51)))
(data (i32.const 4096) "unknown setting \1b[31mteam\1b[0m\nlevel=info msg=forged")
