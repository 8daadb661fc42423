;; Gives a reason of 65 characters, one over the limit and otherwise well formed. The host must refuse the answer.
(func $decide (param $batch i32) (param $index i32) (param $decision i32)
  (call $put-choice (local.get $decision) (global.get $choice=direct))
  (call $put-reason (local.get $decision) (i32.const 4096) (i32.const 65)))
(data (i32.const 4096) "AbcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzAbcdefghijklm")
