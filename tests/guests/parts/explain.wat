;; The decision of the one subject, without findings or edits.
(func $explain (param $batch i32) (result i32)
  (local $result i32)
  (local.set $result (call $new (global.get $explain:size)))
  (call $decide (local.get $batch) (i32.const 0)
    (i32.add (i32.add (local.get $result) (global.get $explain:payload)) (global.get $explanation.decision)))
  (local.get $result))
