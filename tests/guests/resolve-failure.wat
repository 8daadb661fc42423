;; Answers resolve with a failure of the whole batch. The host must report its text, without the control character.
(func $resolve (param $batch i32) (result i32)
  (call $error-text (global.get $resolve:size)
    (i32.add (global.get $resolve:payload) (global.get $failure.text)) (i32.const 4096) (i32.const 34)))
(data (i32.const 4096) "no team owns\07 any of these objects")
